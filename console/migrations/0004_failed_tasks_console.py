"""Find the failed tasks of an order by index: `sagas.celery.result_backend` keeps with each which sagas it was about."""

from django.db import migrations

CREATE = """
CREATE INDEX console_failed_tasks ON django_celery_results_taskresult USING gin ((meta::jsonb -> 'sagas') jsonb_path_ops)
"""


class Migration(migrations.Migration):
    """Create the index."""

    dependencies = [("console", "0003_history"), ("django_celery_results", "0014_alter_taskresult_status")]

    operations = [migrations.RunSQL(CREATE, "DROP INDEX console_failed_tasks")]
