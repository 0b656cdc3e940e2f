"""docs/states.md says what the core answers."""

from simulations import settings, splits
from simulations.states import DOCUMENT, document


def test_the_document_of_all_states_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == document(), "write it again: python -m simulations states"


def test_OM_11_OM_12_OM_21_the_tables_of_splits_are_current() -> None:
    text = splits.DOCUMENT.read_text("utf-8")
    assert text == splits.document(text), "write it again: python -m simulations splits"


def test_SG_20_the_table_of_settings_is_current_and_tells_what_each_does() -> None:
    assert [name for name, effect in settings.effects().items() if not effect] == []
    text = settings.DOCUMENT.read_text("utf-8")
    assert text == settings.document(text), "write it again: python -m simulations settings"
