"""A review: the audit, its scans and the decisions about them, as the web application serves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from segmend.audit.folder import AuditFolder
from segmend.core.errors import InputError, did_you_mean
from segmend.data.folder import DataFolder
from segmend.data.image import PICTURES, read_grid
from segmend.data.names import confusable
from segmend.review import export as exporting
from segmend.review.colours import class_colours
from segmend.review.decisions import DECISIONS, LONGEST_COMMENT, REPLACE, Decision, Subject, check_reader
from segmend.review.findings import Findings
from segmend.review.readings import agreement, expanded, progress
from segmend.review.replacement import take_label
from segmend.review.scans import KINDS, ReviewedScans, label_of
from segmend.review.store import FILE, ReviewStore
from segmend.review.viewers import PROGRAMS, edited_file, installed, prepare

_PRESETS = (("lung", -1350, 150), ("bone", -500, 1300), ("soft tissue", -160, 240), ("brain", 0, 80))
"""Windows of CT in HU: name, black and white."""


@dataclass(frozen=True)
class Review:
    """What a server needs to know.

    Attributes:
        place: the audit.
        folder: the data folder that was audited.
        reader: the name that the page suggests, or the only reader of a blinded review; "" leaves it to the page.
        blinded: readers do not see what others have decided.
    """

    place: AuditFolder
    folder: DataFolder
    reader: str = ""
    blinded: bool = False
    findings: Findings = field(init=False)
    scans: ReviewedScans = field(init=False)
    store: ReviewStore = field(init=False)

    def __post_init__(self) -> None:
        findings = Findings(self.place, self.folder)
        object.__setattr__(self, "findings", findings)
        object.__setattr__(self, "scans", ReviewedScans(self.place, self.folder, findings))
        object.__setattr__(self, "store", ReviewStore(self.place.root / FILE, findings.mark))

    def overview(self) -> dict[str, Any]:
        """What there is to review."""
        channels = self.folder.channel_names
        names = [name.strip().lower() for name in channels]
        is_ct = all(name == "ct" for name in names)
        objects = list(self.folder.objects)
        presets = [{"name": name, "low": low, "high": high} for name, low, high in _PRESETS]
        return {
            "mark": self.findings.mark,
            "data": self.folder.name,
            "title": f"Label review: {self.folder.name}",
            "data_folder": str(self.folder.root),
            "audit_folder": str(self.place.root),
            "classes": [
                {"index": self.scans.index_of(name), "name": name, "colour": colour}
                for name, colour in zip(objects, class_colours(len(objects)), strict=True)
            ],
            "by_region": self.scans.by_region,
            "channels": channels,
            "remarks": self.findings.remarks,
            "rows": len(self.findings.rows),
            "cases": len(self.findings.labels_of),
            "suspect": sum(self.findings.suspect),
            "readers": self.store.readers(),
            "reader": self.reader,
            "blinded": self.blinded,
            "dimensions": self.dimensions,
            "presets": presets if is_ct else [],
            "data_type": "ct" if is_ct else "other",
            "unit": "px" if self.folder.file_ending in PICTURES else "mm",
            "tools": {tool: installed(tool) is not None for tool in PROGRAMS},
        }

    @cached_property
    def dimensions(self) -> int:
        """2 or 3, as the first audited case."""
        first = next(iter(self.findings.labels_of), None)
        return read_grid(label_of(self.scans.case(first))).dimensions if first else 3

    def labels(self, reader: str) -> dict[str, Any]:
        """The columns of all rows, with what a reader has decided and how many others have decided."""
        reader = self._allowed(reader, needed=False)
        rows = self.findings.rows
        columns: dict[str, Any] = dict(self.findings.columns)
        count = len(rows)
        columns |= {"decision": [""] * count, "comment": [""] * count, "replaced": [False] * count}
        columns |= {"others": [0] * count, "region_decisions": [0] * count}
        decisions = self._known(self.store.decisions())
        replaced = {each.subject.case for each in decisions if each.reader == reader and each.decision == REPLACE}
        others: Counter[int] = Counter()
        for each in expanded(decisions, self.findings.labels_of):
            row = rows[each.subject.case, each.subject.label]
            if each.subject.region is not None:
                columns["region_decisions"][row] += each.reader == reader
            elif each.reader == reader:
                columns["decision"][row] = each.decision
            else:
                others[row] += 1
        for row, number in others.items():
            columns["others"][row] = number
        for subject, comment in self.store.comments(reader).items():
            if subject.region is None and (subject.case, subject.label) in rows:
                columns["comment"][rows[subject.case, subject.label]] = comment
        for (case, _), row in rows.items():
            columns["replaced"][row] = case in replaced
        return columns | {"steps": self.store.steps(reader)}

    def case(self, name: str, reader: str) -> dict[str, Any]:
        """All about a case, with what a reader has decided about its regions."""
        reader = self._allowed(reader, needed=False)
        case = self.scans.case(name)
        found = self.scans.described(case)
        decisions = [each for each in self.store.decisions(case=case.name) if each.reader == reader]
        said = {each.subject: each.decision for each in decisions}
        comments = self.store.comments(reader, case.name)
        for region in found["regions"]:
            subject = Subject(case.name, region["label"], region["number"])
            region["decision"], region["comment"] = said.get(subject, ""), comments.get(subject, "")
        found["replaced"] = next((each.file for each in decisions if each.decision == REPLACE), "")
        edited = edited_file(self.scans, case)
        found["edited"] = str(edited) if edited.is_file() else ""
        return found

    def volume(self, name: str, kind: str, label: str, channel: int) -> bytes:
        """A volume as NIfTI.

        Raises:
            InputError: there is no such kind.
        """
        if kind not in KINDS:
            raise InputError("kind", f"is '{kind}'", did_you_mean(kind, KINDS), code="unknown-name")
        return self.scans.nifti(self.scans.case(name), kind, label, channel)

    def decide(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write down a decision: ``reader, case, label, region, decision, comment``.

        Raises:
            InputError: something given is wrong, and nothing was written.
        """
        reader = self._allowed(given.get("reader"))
        subject = self._subject(given)
        decision, comment = given.get("decision", ""), given.get("comment", "")
        allowed = DECISIONS if subject.label else ()
        if decision not in ("", *allowed):
            remedy = f"give {', '.join(allowed)} or nothing" if allowed else "give nothing, or a new label file"
            raise InputError("decision", f"is {decision!r}", remedy, code="invalid-value")
        if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT:
            remedy = f"give a text of at most {LONGEST_COMMENT} characters"
            raise InputError("comment", "is too long, or no text", remedy, code="invalid-value")
        proposes = not subject.label or self.findings.proposal(subject.case, subject.label) != "none"
        if decision == "accept" and not proposes:
            problem = f"would accept a change of case '{subject.case}', label '{subject.label}', but none is proposed"
            raise InputError(
                "decision", problem, "reject it (the label stays), or draw a new one", code="invalid-value"
            )
        steps = self.store.decide(Decision(subject, reader, decision, comment))
        return {"decision": decision, "comment": comment, "steps": steps}

    def take_back(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take back the last step of ``reader``."""
        found = self.store.take_back(self._allowed(given.get("reader")))
        if found is None:
            return {}
        decision, steps = found
        subject = decision.subject
        return {
            "case": subject.case,
            "label": subject.label,
            "region": subject.region,
            "decision": decision.decision,
            "comment": decision.comment,
            "steps": steps,
        }

    def open_viewer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Open a ``case`` in a ``tool``, or give the command that does."""
        case = self.scans.case(_text(given, "case"))
        prepared = prepare(self.scans, case, _text(given, "tool"), str(given.get("start", "label")))
        started = prepared.start()
        return {"started": started, "command": prepared.command, "file": str(prepared.file)}

    def replace(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take a ``file`` as the new label of a ``case``; without one, the working copy of the viewers."""
        reader, case = self._allowed(given.get("reader")), self.scans.case(_text(given, "case"))
        file = Path(_text(given, "file")).expanduser() if given.get("file") else edited_file(self.scans, case)
        kept, changed = take_label(self.scans, case, file)
        comment = given.get("comment", "")
        subject = Subject(case.name, "")
        steps = self.store.decide(Decision(subject, reader, REPLACE, str(comment)[:LONGEST_COMMENT], file=kept))
        return {"file": kept, "changed_voxels": changed, "steps": steps}

    def export(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write the tables of decisions."""
        written = self.write_tables()
        regions = sum(each.subject.region is not None for each in written.decisions)
        replaced = written.counts[REPLACE]
        return {
            "file": str(written.file),
            "accepted": written.counts["accept"],
            "rejected": written.counts["reject"],
            "unsure": written.counts["unsure"],
            "replaced": replaced,
            "regions": regions,
            "labels": len(written.decisions) - regions - replaced,
            "disagreed": written.disagreed,
            "command": self.next_line,
        }

    def write_tables(self) -> exporting.Export:
        """Write the tables of decisions into the folder of the audit."""
        return exporting.export(self.store, self.findings, self.place.root)

    @property
    def next_line(self) -> str:
        """The command that makes a corrected copy."""
        return exporting.next_line(self.folder.root, self.place.root, self.folder.table)

    def progress(self, reader: str) -> dict[str, Any]:
        """How much a reader has decided."""
        own = self._known(self.store.decisions(self._allowed(reader)))
        labels = expanded(own, self.findings.labels_of)
        return progress(labels, self.findings.rows, self.findings.suspect)

    def agreement(self) -> dict[str, Any]:
        """How well readers agree.

        Raises:
            InputError: the review is blinded.
        """
        if self.blinded:
            raise InputError(
                "agreement", "is not shown in a blinded review", "review without `blinded`", code="invalid-value"
            )
        labels = expanded(self._known(self.store.decisions()), self.findings.labels_of)
        return {"readers": self.store.readers(), "pairs": agreement(labels)}

    def _known(self, decisions: list[Decision]) -> list[Decision]:
        """Without decisions on what the audit does not list."""
        rows, cases = self.findings.rows, self.findings.labels_of
        return [
            each
            for each in decisions
            if each.subject.case in cases
            and (not each.subject.label or (each.subject.case, each.subject.label) in rows)
        ]

    def _allowed(self, reader: Any, *, needed: bool = True) -> str:
        """The name of a reader who may decide, and see his or her own decisions."""
        if not reader and not needed:
            return ""
        checked = check_reader(reader)
        if self.blinded and self.reader and confusable(checked) != confusable(self.reader):
            problem = f"is '{checked}', but this blinded review is for '{self.reader}' alone"
            raise InputError("reader", problem, f"give '{self.reader}'", code="invalid-value")
        return checked

    def _subject(self, given: Mapping[str, Any]) -> Subject:
        case = self.findings.named(_text(given, "case"))
        label, region = given.get("label", ""), given.get("region")
        if not label and region is None:
            return Subject(case, "")
        if label not in self.findings.labels_of[case]:
            remedy = did_you_mean(str(label), self.findings.labels_of[case])
            raise InputError("label", f"'{label}' of case '{case}' was not audited", remedy, code="unknown-name")
        if region is None:
            return Subject(case, label)
        numbers = [each.number for each in self.findings.regions.get(case, ()) if each.label == label]
        if type(region) is not int or region not in numbers:
            known = ", ".join(map(str, numbers)) or "none"
            problem = f"case '{case}', label '{label}' has no region {region!r}"
            raise InputError("region", problem, f"known are {known}", code="unknown-name")
        return Subject(case, label, region)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(name, "is missing", f"give a {name}", code="missing-value")
    return value
