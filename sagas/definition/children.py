"""The step of a plan that starts another saga. `sagas.child` registers it."""

from sagas.definition.child_rules import undoing_step
from sagas.definition.plan import Step, Wait

__all__ = ["Child"]


class Child(Wait, frozen=True):
    """A step that starts another saga, its child, and is over when the child has ended.

        Child("orders.return_all")

    In the plan it is an ordinary step. Before the pivot, its undo cancels the child, or undoes what
    the child did. `when` is a condition, as of a `Step`.
    """

    def step(self, *, is_undone: bool) -> Step:
        """Return the step of the plan. `is_undone`: it is before the pivot."""
        undo = undoing_step(self.name) if is_undone else None
        return Step(self.name, undo=undo, when=self.when)
