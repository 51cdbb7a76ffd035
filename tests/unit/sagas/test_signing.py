"""A signature is the same in every release, because old and new processes run side by side."""

from sagas.celery import signing

HEADERS = {"task": "sagas.flush", "id": "0192f0c1-9a3b-7f21-9d0e-4c6b8a0e2f56", "lang": "py"}
BODY = [["orders"], {}, {"callbacks": None}]


def test_a_release_signs_as_the_release_before_it():
    signature = signing._signature(signing._signed_text(HEADERS, BODY), "k" * 40)
    assert signature == "a7SL1smYwTvZeuT597lXiwo92CgjRcSmmz_r1r5k-7A"


def test_without_keys_the_key_follows_from_the_secret_key(settings):
    settings.SAGA_SIGNING_KEYS = []
    settings.SECRET_KEY = "s" * 50
    settings.SECRET_KEY_FALLBACKS = ["t" * 50]
    derived = signing.signing_keys()
    assert derived == [
        "d452fa0ae804474c5ec6dcfda5e876b0880720223950a79c4724bdefd3fb0bc9",
        "877ad4ce8b246a32edab8c7f3f9288a05ca443cbd03d1e4fbcab7c55faeac57a",
    ]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "t" * 50, ["s" * 50]
    assert signing.signing_keys() == derived[::-1]


def test_given_keys_replace_the_derived_key_unless_they_name_it(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "s" * 50, []
    settings.SAGA_SIGNING_KEYS = ["k" * 40]
    assert signing.signing_keys() == ["k" * 40]
    settings.SAGA_SIGNING_KEYS = ["derived", "k" * 40]
    first, second = signing.signing_keys()
    assert (len(first), second) == (64, "k" * 40)


class Received:
    """A message as a worker receives it."""

    def __init__(self, headers, payload):
        self.headers, self.payload = headers, payload


def test_a_message_without_signature_is_valid_only_while_the_setting_is_on(settings):
    unsigned = Received(HEADERS, BODY)
    wrong = Received({**HEADERS, signing.HEADER: "A" * 43}, BODY)
    assert not signing.has_valid_signature(unsigned, None)
    settings.SAGA_ACCEPT_UNSIGNED = True
    assert signing.has_valid_signature(unsigned, None)
    assert not signing.has_valid_signature(wrong, None)
    assert not signing.has_valid_signature(unsigned, {"task": "sagas.flush"})
