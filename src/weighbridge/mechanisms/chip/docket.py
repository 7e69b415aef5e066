"""Collecting what the checks of one chip conclude, so that every check ends in a finding."""

from collections.abc import Iterable

from weighbridge.evidence.findings import Finding, Outcome

__all__ = ["CHECKS", "Docket"]

CHECKS = {
    "chip.record": "every statement is a well-formed record by this chip",
    "chip.sequence": "records are numbered without gap or repetition",
    "chip.chain": "every record names the one before",
    "chip.schedule": "every revealed link leads to the commitment, every stop came at its due time",
    "chip.lateness": "no stop came later than the limit",
    "chip.missed": "no due time passed without a stop while the chip ran",
    "chip.shutdown": "every boot ended with a shutdown record",
    "chip.end": "the records end with a shutdown, and reach as far as is known from elsewhere",
    "chip.ticks": "active time, stops and the host's clock add up",
    "chip.brackets": "ticks agree with receipts and with the values seen before",
    "chip.cpu": "CPU time never goes back and fits the cores",
    "chip.firmware": "the agent's sources stayed the same",
    "chip.affinity": "every thread stayed on its processors",
    "chip.separation": "the command ran under another user id, in a control group",
    "chip.memory": "all memory could be read",
    "chip.leaves": "leaf tables and salts are there and give the signed roots",
}
"""Every check, with what its pass means."""


class Docket:
    """Findings of one chip; a check that nothing spoke against passes, one that could not be done says so."""

    def __init__(self, chip: str) -> None:
        self.chip = chip
        self._found: list[Finding] = []
        self._undone: dict[str, str] = {}

    def fail(
        self,
        check: str,
        subject: str,
        reason: str,
        *,
        figure: float | None = None,
        unit: str | None = None,
        evidence: Iterable[str] = (),
    ) -> None:
        """Notes what a check found wrong with a record."""
        self._add(Outcome.FAIL, check, subject, reason, figure, unit, evidence)

    def doubt(
        self,
        check: str,
        subject: str,
        reason: str,
        *,
        figure: float | None = None,
        unit: str | None = None,
        evidence: Iterable[str] = (),
    ) -> None:
        """Notes what a check cannot vouch for: no wrong, and nothing covered."""
        self._add(Outcome.INCONCLUSIVE, check, subject, reason, figure, unit, evidence)

    def undone(self, check: str, reason: str) -> None:
        """Notes that a check could not be done at all."""
        self._undone[check] = reason

    def _add(
        self,
        outcome: Outcome,
        check: str,
        subject: str,
        reason: str,
        figure: float | None,
        unit: str | None,
        evidence: Iterable[str],
    ) -> None:
        if check not in CHECKS:
            raise ValueError(f"no such check: {check}")
        self._found.append(
            Finding(
                check=check,
                subject=subject,
                outcome=outcome,
                reason=reason,
                figure=figure,
                unit=unit,
                evidence=tuple(evidence),
            )
        )

    def findings(self) -> tuple[Finding, ...]:
        """Returns one finding for each thing noted, and one for each check that passed or was not done."""
        spoken = {finding.check for finding in self._found}
        rest = []
        for check, meaning in CHECKS.items():
            if check in self._undone and check not in spoken:
                outcome, reason = Outcome.INCONCLUSIVE, f"not checked: {self._undone[check]}"
            elif check not in spoken:
                outcome, reason = Outcome.PASS, meaning
            else:
                continue
            rest.append(Finding(check=check, subject=self.chip, outcome=outcome, reason=reason))
        order = {check: number for number, check in enumerate(CHECKS)}
        return tuple(sorted([*self._found, *rest], key=lambda finding: order[finding.check]))
