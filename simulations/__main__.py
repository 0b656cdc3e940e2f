"""`python -m simulations`: the simulated PBX, the demonstration, benchmarks, and the proof of requirements.

Each command is imported when it is called, so that one's dependencies never burden another.
"""

from cyclopts import App

app = App(name="simulations", help="What runs around Ringfold to try, measure and prove it.")
app.command("simulations.bench.__main__:main", name="bench")
app.command("simulations.demo:main", name="demo")
app.command("simulations.dictionary:main", name="dictionary")
app.command("simulations.manager.command:watch", name="manager")
app.command("simulations.mutation.command:main", name="mutation")
app.command("simulations.pbx.command:serve", name="pbx")
app.command("simulations.ordeal.command:main", name="ordeal")
app.command("simulations.ordeal.recovery:main", name="recovery")
app.command("simulations.requirements:main", name="requirements")
app.command("simulations.world.proof:main", name="proof")
app.command("simulations.world.command:main", name="run")
app.command("simulations.whatif.command:main", name="what-if")
app.command("simulations.states:main", name="states")
app.command("simulations.splits:main", name="splits")
app.command("simulations.settings:main", name="settings")
app.command("simulations.sequence.command:main", name="sequences")

if __name__ == "__main__":
    app()
