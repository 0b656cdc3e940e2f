"""The `ringfold` command: a name for each thing it does. What a command needs is imported when it is asked for."""

import sys

from cyclopts import App

from engine.ports import StoreUnavailable, Unreadable

cli = App(name="ringfold", help="An event-sourced outbound dialer.")
cli.command("engine.command.serve:serve")
cli.command("engine.command.token:token")
cli.command("engine.command.key:commands", name="key")
cli.command("engine.command.revoke:revoke")
cli.command("engine.command.importing:import_file", name="import")
cli.command("engine.command.log:show_log", name="log")
cli.command("engine.command.explain:explain_contact", name="explain")
cli.command("engine.command.replay:replay_log", name="replay")
cli.command("engine.command.export:export_campaign", name="export")
cli.command("engine.command.retention:show_retention", name="retention")
cli.command("engine.command.log:verify_logs", name="verify")
cli.command("engine.command.log:copy_logs", name="copy")
cli.command("engine.command.backup:backup")
cli.command("engine.command.backup:restore")
cli.command("engine.command.archive:commands", name="archive")
cli.command("engine.command.check:check")


def main() -> None:
    try:
        cli()
    except (StoreUnavailable, Unreadable) as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
