"""docs/states.md says what the core answers."""

from simulations import splits
from simulations.states import DOCUMENT, document


def test_the_document_of_all_states_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == document(), "write it again: python -m simulations states"


def test_OM_11_OM_12_OM_21_the_tables_of_splits_are_current() -> None:
    text = splits.DOCUMENT.read_text("utf-8")
    assert text == splits.document(text), "write it again: python -m simulations splits"
