from django.db import migrations, models

PHASES = ("findings", "orders", "payments", "sagas", "stock", "done")


class Migration(migrations.Migration):
    """Add the phase of the sagas of other kinds, their number, and the kind of a finding.

    The table of runs keeps 90 days, so its constraint is checked at once.
    """

    dependencies = [("audit", "0001_scheduled")]

    operations = [
        migrations.AddField(
            model_name="auditrun",
            name="sagas",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Sagas of other kinds checked."
            ),
        ),
        migrations.AddField(
            model_name="finding",
            name="kind",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The kind of the saga, such as orders.order; empty for a SKU.",
                max_length=100,
            ),
        ),
        migrations.AlterField(
            model_name="finding",
            name="subject",
            field=models.CharField(help_text="The id of the saga, or the SKU.", max_length=255),
        ),
        migrations.AlterField(
            model_name="auditrun",
            name="phase",
            field=models.CharField(
                choices=[
                    ("findings", "orders and other sagas with an open finding"),
                    ("orders", "orders that have ended"),
                    ("payments", "payments that have changed"),
                    ("sagas", "sagas of other kinds that have ended"),
                    ("stock", "stock of each SKU"),
                    ("done", "finished"),
                ],
                db_default="findings",
                default="findings",
                max_length=8,
            ),
        ),
        migrations.RemoveConstraint(model_name="auditrun", name="audit_run_phase"),
        migrations.AddConstraint(
            model_name="auditrun",
            constraint=models.CheckConstraint(
                condition=models.Q(("phase__in", PHASES)), name="audit_run_phase"
            ),
        ),
    ]
