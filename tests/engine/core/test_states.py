"""docs/states.md says what the core answers."""

from simulations.states import DOCUMENT, document


def test_the_document_of_all_states_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == document(), "write it again: python -m simulations states"
