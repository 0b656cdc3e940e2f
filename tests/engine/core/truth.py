"""Truth tables written by hand, compared cell by cell with what the core answers."""

from simulations.states import Cells


def table(text: str, words: dict[str, str]) -> Cells:
    """Cells of a text table: the first line names the states, each further one a message and its answers by `|`.

    `words` gives what a short word stands for; a word that isn't in it stands for itself, `–` for saying nothing.
    """
    header, *rows = [line for line in text.splitlines() if line.strip()]
    states = header.split()
    cells: Cells = {}
    for row in rows:
        name, *answers = [part.strip() for part in row.split("|")]
        assert len(answers) == len(states), row
        cells.update({(name, state): words.get(word, word) for state, word in zip(states, answers, strict=True)})
    return cells


def compare(expected: Cells, answered: Cells) -> None:
    """Every cell, in both directions: one that nobody wrote down is as wrong as one that differs."""
    differing = {
        cell: (expected.get(cell, "not in the table"), answered.get(cell, "never asked"))
        for cell in {**expected, **answered}
        if expected.get(cell) != answered.get(cell)
    }
    assert not differing, "\n".join(
        f"{cell}: expected {want!r}, answered {got!r}" for cell, (want, got) in differing.items()
    )
