"""Every command and option by name. Scripts and other people's tools rest on them: change them knowingly."""

from typing import Any

import pytest
import typer
from typer.main import get_command

from weighbridge.app.main import build


def surface(command: Any, name: str = "weighbridge") -> dict[str, str]:
    """Returns each command's parameters, arguments in capitals, by the words that one types."""
    if hasattr(command, "commands"):
        found = {}
        for word, sub in sorted(command.commands.items()):
            found.update(surface(sub, f"{name} {word}"))
        return found
    words = [
        max(p.opts, key=len) if p.param_type_name == "option" else p.name.upper()
        for p in command.params
        if p.name != "help"
    ]
    return {name: " ".join(words)}


EXPECTED = {
    "weighbridge assess": "WORKSPACE --rule --roots --logged-audits --seal --json",
    "weighbridge case": "NAME --out --page --picture --json",
    "weighbridge check": "REPORT --roots --json",
    "weighbridge chip answer": "DIRECTORY --nonce --json",
    "weighbridge chip init": "DIRECTORY --maker-key --maker-cert --rate --length --name --json",
    "weighbridge chip run": "DIRECTORY COMMAND --spool --leaf-size --core --user --late-limit --bracket --expose",
    "weighbridge chip show": "DIRECTORY --limit --json",
    "weighbridge chip verify": "DIRECTORY --roots --log --late-limit --json",
    "weighbridge demo": "--out --seed --json",
    "weighbridge doctor": "--for --json",
    "weighbridge inspect check": "FOLDER --roots --log --kept --json",
    "weighbridge inspect check-draw": "FOLDER --roots --log --json",
    "weighbridge inspect close": "FOLDER --key --roots --json",
    "weighbridge inspect commit": "FOLDER --key --purpose --period --secret --spool --json",
    "weighbridge inspect draw": "FOLDER --key --roots --signature --vrf-key --spool --json",
    "weighbridge inspect frame": "FOLDER --list --count --reserves --purpose --period --source --round --vrf-key "
    "--challenger --hours --key --roots --spool --json",
    "weighbridge inspect open": "FOLDER --place --present --access --arrived --key --roots --json",
    "weighbridge inspect plan": "FOLDER --draw --site --notified --require --member --camera-gap --visit-number "
    "--territory --key --roots --spool --json",
    "weighbridge inspect record": "FOLDER WHAT --item --set --file --at --table --key --roots --json",
    "weighbridge inspect reveal": "FOLDER --key --roots --secret --spool --json",
    "weighbridge inspect submit": "FOLDER --spool --roots --json",
    "weighbridge log export": "PATH DIRECTORY --roots --json",
    "weighbridge log keep": "PATH --spool --key --roots --create --inspector --nonce-key --once --json",
    "weighbridge log prove": "PATH ENTRY --since --size --roots --json",
    "weighbridge log show": "PATH --roots --kind --subject --start --limit --json",
    "weighbridge log verify": "PATH --roots --checkpoint --json",
    "weighbridge plan balance chips": "--beginning --counted --received --shipped --retired --consignments --taken-on "
    "--changed-on --json",
    "weighbridge plan balance flop": "--evidence --declared --sigma --hidden --alpha --power --picture --json",
    "weighbridge plan balance losses": "--chips --days --yearly --lost --alpha --power --picture --json",
    "weighbridge plan balance pairs": "FILE --population --item-sigma --alpha --picture --json",
    "weighbridge plan balance periods": "FILE --periods --alpha --k --shift --correlation --lasting --histories "
    "--seed --picture --json",
    "weighbridge plan balance records": "--chip-days --rate --seen --alpha --picture --json",
    "weighbridge plan balance yields": "--sigma --units --wafers --die-area --per-wafer --good --dies --declared "
    "--alpha --power --picture --json",
    "weighbridge plan chips": "--chips --flop --chip-flops --days --period --rate --confidence --form --utilisation "
    "--log-days --tampered --tamper-seen --stretch --pooled --per-inspector --picture --json",
    "weighbridge plan clones": "--clones --inspected --confidence --copies --picture --json",
    "weighbridge plan cluster": "--tpp --memory --reference --json",
    "weighbridge plan interviews answers": "--pairs --agreeing --confidence --json",
    "weighbridge plan interviews refusals": "--asked --refused --base-rate --json",
    "weighbridge plan page": "--out",
    "weighbridge plan items": "--population --missing --confidence --seen --drawn --draws --picture --json",
    "weighbridge plan best": "--fleet --days --limit --rule --counting --format --declared --visits --inspector-days "
    "--replay-hours --freezes --reading --rate --days-per-draw --replay-per-audit --periods --rules --picture --json",
    "weighbridge plan fleet": "EPOCH --out --least --h100-flops --visit-days --unlikely --json",
    "weighbridge plan mechanisms": "--mechanisms --json",
    "weighbridge plan portfolio": "--fleet --days --limit --rule --counting --format --declared --confidence --regime "
    "--cover --set --mechanisms --adds --joined --together --years --progress --rules --picture --json",
    "weighbridge plan rules": "--rules --json",
    "weighbridge plan segments": "--segments --forged --confidence --drawn --tries --picture --json",
    "weighbridge plan sequential groups": "--honest --hidden --looks --alpha --beta --spending --beta-spending "
    "--picture --json",
    "weighbridge plan sequential wald": "--honest --hidden --alpha --beta --most-draws --picture --json",
    "weighbridge plan sites": "--visits --missing --fleet --name-column --size-column --chips-column --only "
    "--skip-unsized --census-above --within --sites --site-size --drawn --seen --picture --json",
    "weighbridge plan snapshots": "--chips --chip-flops --days --limit --rule --counting --format --declared "
    "--unexplained --confidence --stride --step-seconds --freeze-seconds --together --per-trigger --anchor-bytes "
    "--share-read --rules --picture --json",
    "weighbridge plan timeliness": "--flop --sizes --h100e-flops --period --days --chip-flops --utilisation --fleet "
    "--name-column --size-column --only --skip-unsized --picture --json",
    "weighbridge practice": "FOLDER",
    "weighbridge record": "COMMAND --out --data --code --stride --variable --anchor-every --bind --resume --strict",
    "weighbridge redteam": "--attack --seeds --table --page --json",
    "weighbridge registry add": "STATEMENTS --db --roots --json",
    "weighbridge registry correct": "STATEMENT --reason --key --roots --out",
    "weighbridge registry findings": "--db --roots --chip --at --transit-days --json",
    "weighbridge registry holder": "CHIP --party --db --roots --at --json",
    "weighbridge registry import": "FILE --db --key --roots --json",
    "weighbridge registry show": "CHIP --db --roots --at --json",
    "weighbridge registry sign": "STEP --chip --key --out --party --to --from --at --serial --location",
    "weighbridge transcript cost": "--parameters --optimizer --dtype --bytes-per-parameter --stride --step-seconds "
    "--anchors-per-day --tensors --chips --hash-rate --json",
    "weighbridge sealed agree": "TERMS OUT --key --spool --json",
    "weighbridge sealed allow": "OUT --run --bits --key --spool --json",
    "weighbridge sealed build": "--at --expect --json",
    "weighbridge sealed check": "OUTPUT --agreement --signature --roots --json",
    "weighbridge sealed query": "RUN FOLDER --log --roots --ledger --key --kept --data --parent --pad-seconds --json",
    "weighbridge sealed register": "FOLDER --run --key --spool --rule --json",
    "weighbridge sealed run": "RUN OUT --agreement --roots --seed --log --data --parent --core",
    "weighbridge sealed sign": "OUTPUT OUT --agreement --roots --key --spool --json",
    "weighbridge sealed terms": "OUT --run --party --build --seed --segments --budget --pad-seconds --json",
    "weighbridge transcript diff": "RUN OTHER --segment --other-segment --json",
    "weighbridge transcript export": "RUN --anchor --out --key --roots --json",
    "weighbridge transcript list": "FOLDER --roots --json",
    "weighbridge transcript pack": "RUN --json",
    "weighbridge transcript merge": "FOLDERS --out --group --roots --key --json",
    "weighbridge transcript query": "RUN --where --steps --columns --freezes --limit --csv --parquet --json",
    "weighbridge transcript show": "RUN --roots --json",
    "weighbridge transcript answer": "RUN --questions --roots --wait --data --json",
    "weighbridge transcript bisect": "RUN --roots --steps --questions --wait --data --json",
    "weighbridge transcript verify": "RUN --roots --log --segments --budget --seed --data --parent --core "
    "--from-the-beginning --workers --threads --calibrate --sweep --chips --chip-flops --sealed --pad-seconds --json",
}


def commands() -> dict[str, Any]:
    def walk(command: Any, words: tuple[str, ...]) -> dict[str, Any]:
        if hasattr(command, "commands"):
            return {k: v for word, sub in command.commands.items() for k, v in walk(sub, (*words, word)).items()}
        return {" ".join(words): command}

    return walk(get_command(build()), ())


def test_the_surface_is_the_known_one() -> None:
    assert surface(get_command(build())) == EXPECTED


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    command = commands()[name]
    assert command.help and f"weighbridge {name}" in " ".join(command.help.split()), command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, f"{name} {parameter.opts}"
    assert isinstance(build(), typer.Typer)
