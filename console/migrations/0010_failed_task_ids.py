"""Find a failure by the id of one of its newest Celery tasks, by index."""

from django.db import migrations

ADD = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS console_failed_task_ids
    ON django_celery_results_taskresult USING gin ((meta::jsonb -> 'tasks') jsonb_path_ops)
"""
REMOVE = "DROP INDEX IF EXISTS console_failed_task_ids"


class Migration(migrations.Migration):
    """Create the index while workers go on, because the table may be large."""

    atomic = False

    dependencies = [("console", "0009_run_via")]

    operations = [migrations.RunSQL(ADD, REMOVE)]
