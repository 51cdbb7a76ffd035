from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the indexes of the lists of refused and cancelled returns, and of goodwill."""

    dependencies = [("returns", "0004_parent")]

    operations = [
        migrations.AddIndex(
            model_name='return',
            index=models.Index(condition=models.Q(('failure_code', ''), _negated=True), fields=['id'], name='returns_return_failed'),
        ),
        migrations.AddIndex(
            model_name='return',
            index=models.Index(condition=models.Q(('failure_code', ''), _negated=True), fields=['user', '-id'], name='returns_return_failed_of_user'),
        ),
        migrations.AddIndex(
            model_name='return',
            index=models.Index(condition=models.Q(('kind', 'goodwill')), fields=['id'], name='returns_return_goodwill'),
        ),
    ]
