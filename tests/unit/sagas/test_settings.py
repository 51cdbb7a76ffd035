"""The engine's settings: the dict SAGAS, the names that stand alone, and the defaults."""

from django.conf import settings as django_settings

from sagas import conf
from sagas.checks.registration import check_settings


def test_every_setting_has_a_default_in_a_project_that_sets_none(settings):
    for setting in vars(conf.EngineSettings).values():
        if isinstance(setting, conf.Setting) and hasattr(django_settings, setting.alone):
            delattr(settings, setting.alone)
    values = {name: getattr(conf.settings, name) for name in conf.names()}
    assert values == {name: vars(conf.EngineSettings)[name].default for name in conf.names()}
    assert values["STEP_ATTEMPTS"] == 5


def test_a_setting_may_stand_alone_and_the_dict_wins(settings):
    settings.SAGA_RETENTION_DAYS = 7
    assert conf.settings.RETENTION_DAYS == 7
    settings.SAGAS = {"RETENTION_DAYS": 90}
    assert conf.settings.RETENTION_DAYS == 90


def test_an_unknown_name_is_an_error_that_lists_the_settings(settings):
    settings.SAGAS = {"RETENTION_DAY": 90}
    (error,) = check_settings(None)
    assert (error.id, error.msg) == (
        "sagas.E064",
        "SAGAS['RETENTION_DAY'] is no setting of the engine.",
    )
    assert "RETENTION_DAYS" in str(error.hint)
