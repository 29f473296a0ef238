"""What came of the run, in plain language, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trainwell.report import words
from trainwell.report.blocks import Block, Items, Text, Tile, Tiles
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.tuning import keeps_default
from trainwell.values.finding import title_of

SHOWN = 3
"""So many findings are named in the summary."""
VERDICTS = ("proved", "refuted", "undecided")
PARTS = {"test": "test", "val": "validation"}
REASONS = {
    "budget of epochs": "its budget of epochs was used up", "budget of time": "its budget of time was used up",
    "non-finite": "a loss or a weight was no longer a finite number",
}  # fmt: skip


class Summary(Section):
    name, title, place = "summary", "Summary", 0

    def blocks(self, saved: Saved) -> Sequence[Block]:
        tiles, steps = [*_tiles(saved)], [*next_steps(saved)]
        return [
            *(Text(words.capital(line)) for line in _sentences(saved)),
            *([Tiles(tiles)] if tiles else []),
            *([Items(steps)] if steps else []),
            *(Text(problem, "warning") for problem in saved.problems),
        ]


def interval(saved: Saved) -> tuple[float, float] | None:
    """Return the 95 % interval of the score from the spread over the rows, where it is known."""
    found = saved.part("errors").get("interval")
    if found and saved.part("errors").get("part") == saved.scored_part:
        return float(found[0]), float(found[1])
    told = saved.part("results").get("interval")
    return (float(told[0]), float(told[1])) if told else None


def rows_scored(saved: Saved) -> int:
    """Return the rows of the scored part; 0 where it is not known."""
    made = saved.part("data").get("provenance") or {}
    part = (made.get("parts") or {}).get(saved.scored_part) or {}
    return int(part.get("rows", 0))


def _sentences(saved: Saved) -> Iterator[str]:
    score, bounds, metric = saved.score, interval(saved), saved.metric
    if score is not None:
        which = {"test": "which no decision has seen", "val": "which also chose the best epoch"}
        rows = f"{rows_scored(saved):,} rows of the " if rows_scored(saved) else ""
        between = (
            f" (95 % interval {words.score(bounds[0], metric)} to {words.score(bounds[1], metric)})"
            if bounds
            else ""
        )
        yield (
            f"{words.metric_name(metric)} {words.score(score, metric)}{between}, measured on the {rows}"
            f"{PARTS[saved.scored_part]} part, {which[saved.scored_part]}. {against_constant(saved)}"
            f"{against_baseline(saved)}"
        )
    elif not any((saved.findings, saved.rows, saved.study, saved.part("evidence"), saved.part("tuning"))):
        yield "this folder holds no epoch yet."
    yield from _how_it_went(saved)
    yield from _of_studies(saved)


def _of_studies(saved: Saved) -> Iterator[str]:
    """What a trial or a search has shown."""
    treatment = saved.part("treatment")
    evidence = saved.part("evidence") or treatment.get("evidence") or {}
    compared = evidence.get("comparisons") or ()
    if treatment.get("of"):
        yield f"this run treats {treatment['of']} ({words.joined(list(map(str, treatment.get('findings') or ())))})."
    if compared:
        named = {
            v: [words.change(c.get("name")) for c in compared if c.get("verdict") == v] for v in VERDICTS
        }
        told = "; ".join(f"{v}: {words.joined(names, SHOWN)}" for v, names in named.items() if names)
        seeds, number = len(evidence.get("seeds") or ()), len(compared)
        changes = "one change" if number == 1 else f"{number} changes"
        were = "was" if number == 1 else "were"
        yield f"{changes} of the recipe {were} tried on {seeds} paired seeds. {words.capital(told)}."
    tuning = saved.part("tuning")
    if tuning:
        metric, number = str(tuning.get("metric", "")), (tuning.get("trials") or {}).get("all", 0)
        kept = "default" if keeps_default(tuning) else "winner"
        better = "the winner beats" if tuning.get("beats_default") else "none certainly beats"
        judged = (
            f"On fresh seeds and splits {better} the default" if tuning.get("repeats") else "None was judged"
        )
        tried = "One recipe was" if number == 1 else f"{number:,} recipes were"
        test = words.score((tuning.get("test") or {}).get(metric), metric)
        yield (
            f"{tried} tried. {judged}; on the test part, "
            f"which nothing has seen before, the {kept} reaches {words.metric_name(metric)} {test}."
        )


def constant(saved: Saved) -> tuple[str, float] | None:
    """Return the best constant answer and its score on the scored part; None where it is not known."""
    errors = saved.part("errors")
    found = errors.get("constant") or {}
    if errors.get("part") != saved.scored_part or not words.is_number(found.get("score")):
        return None
    return str(found.get("answer")), float(found["score"])


def against_constant(saved: Saved) -> str:
    """Say so where the network is no better than one answer for all rows."""
    found, bounds = constant(saved), interval(saved)
    if found is None or bounds is None:
        return ""
    answer, theirs = found
    worst = min(bounds, key=lambda b: b * saved.sign)
    if (theirs - worst) * saved.sign < 0:
        return ""
    told = words.score(theirs, saved.metric)
    return (
        f"Answering “{answer}” for every row reaches {told}: the network is not certainly better than that. "
    )


def against_baseline(saved: Saved) -> str:
    """Return how the score stands against boosting, and whether the rows can tell them apart."""
    score, theirs, bounds = saved.score, saved.baseline, interval(saved)
    if score is None or theirs is None:
        return ""
    told = words.score(theirs, saved.metric)
    if bounds is not None and bounds[0] <= theirs <= bounds[1]:
        return f"Gradient boosting reaches {told} on the same rows, which lies inside that interval: a tie."
    ahead = (score - theirs) * saved.sign
    if ahead > 0:
        return f"Gradient boosting reaches {told} on the same rows, so the network is ahead."
    return f"Gradient boosting reaches {told} on the same rows: it is ahead, consider it for these data."


def _how_it_went(saved: Saved) -> Iterator[str]:
    alarms = [f for f in saved.findings if f.get("severity") != "information"]
    results, rows = saved.part("results"), saved.rows
    if results.get("stop_reason"):
        yield (
            f"training ended after {len(rows) or results.get('epochs', 0)} epochs and "
            f"{words.seconds(results.get('seconds'))}: {reason(str(results['stop_reason']))}. "
            f"The weights are those of epoch {saved.best_epoch}."
        )
    elif rows:
        yield f"the training has not ended: {len(rows)} epochs so far, the best is epoch {saved.best_epoch}."
    treated = results.get("treatments") or ()
    if treated:
        changes = words.joined([str(t.get("change", "")) for t in treated], SHOWN)
        often = "once" if len(treated) == 1 else f"{len(treated)} times"
        yield f"in trouble it went back and on with another dose {often}: {changes}."
    if alarms:
        named = words.joined([title_of(f["ailment"]) for f in alarms], SHOWN)
        number = "one finding asks" if len(alarms) == 1 else f"{len(alarms)} findings ask"
        yield f"{number} for a change: {named}."
    elif saved.trainings:
        yield "the training was watched, and nothing that was found asks for a change."
    elif saved.rows:
        yield "the training was not watched, so nothing is known of what may ail it."


def reason(stop: str) -> str:
    """Return why a training ended, as a clause."""
    return REASONS.get(stop, stop)


def _tiles(saved: Saved) -> Iterator[Tile]:
    score, bounds, metric = saved.score, interval(saved), saved.metric
    if score is not None:
        note = f"{words.score(bounds[0], metric)} to {words.score(bounds[1], metric)}" if bounds else ""
        label = f"{words.metric_name(metric)}, {PARTS[saved.scored_part]} part"
        yield Tile(words.capital(label), words.score(score, metric), note)
    if saved.baseline is not None:
        yield Tile("Boosting, same rows", words.score(saved.baseline, metric), "scikit-learn's defaults")
    one = constant(saved)
    if one is not None:
        yield Tile("One answer for all", words.score(one[1], metric), f"always {one[0]}")
    if saved.rows:
        yield Tile(
            "Best epoch",
            f"{saved.best_epoch} of {len(saved.rows)}",
            "by " + str((saved.part("recipe") or {}).get("monitor", "validation")).replace("_", " "),
        )
        spent = saved.part("results").get("seconds") or words.total(r.get("epoch_s") for r in saved.rows)
        yield Tile("Training time", words.seconds(spent), str(saved.part("data").get("device", "")))
    else:
        yield from _watched(saved)
    if saved.trainings:
        alarms = [f for f in saved.findings if f.get("severity") != "information"]
        tone = "good" if not alarms else "critical" if _has_critical(alarms) else "warning"
        yield Tile("Findings", str(len(alarms)), "that ask for a change", tone)


def _watched(saved: Saved) -> Iterator[Tile]:
    """What is known of a loop that was only watched."""
    watch = saved.watch
    for name, label in (("train_loss", "Training loss"), ("val_loss", "Validation loss")):
        values = watch.get(name).values
        if len(values):
            yield Tile(label, words.score(float(values[-1])), "the last that was seen")
    if watch.number("steps", 0.0):
        yield Tile(
            "Training time",
            words.seconds(watch.number("seconds", 0.0)),
            f"{watch.number('steps'):,.0f} steps",
        )


def _has_critical(alarms: Sequence[object]) -> bool:
    return any(isinstance(f, dict) and f.get("severity") == "critical" for f in alarms)


def next_steps(saved: Saved) -> Iterator[tuple[str, str]]:
    """Yield what to do next, each with its command where there is one."""
    alarms = [f for f in saved.findings if f.get("severity") != "information"]
    if saved.part("tuning") and (saved.path / "best" / "recipe.json").is_file():
        yield (
            "The winner is a run of its own: see its report.",
            f"trainwell report {shell(str(saved.path / 'best'))}",
        )
    for finding in alarms[:SHOWN]:
        told = words.capital(title_of(finding["ailment"]))
        fix = finding.get("fix") or ""
        cures = [p for p in finding.get("prescriptions", ()) if p.get("options")]
        if cures and saved.part("recipe"):
            yield f"{told}: {fix or 'try this change of the recipe'}", command(saved, cures[0]["options"])
        else:
            code = next((p["code"] for p in finding.get("prescriptions", ()) if p.get("code")), "")
            yield f"{told}: {fix or 'change the code'}", code
    if not saved.part("recipe"):
        return
    if saved.rows and saved.best_epoch == len(saved.rows) and len(saved.rows) > 1 and not alarms:
        more = f"--budget {2 * len(saved.rows)}ep"
        yield (
            "The last epoch is the best: a longer training may still gain.",
            f"trainwell resume {quoted(saved)} {more}",
        )
    if not alarms and saved.score is not None:
        what, given = ("files", "NEW_FILES") if _is_of_files(saved) else ("rows", "NEW_ROWS.csv")
        yield f"Use it on new {what}.", f"trainwell predict {quoted(saved)} {given} --out predictions.csv"


def _is_of_files(saved: Saved) -> bool:
    """Whether a row of the data is a file: an image or a sound, also where features of it were trained on."""
    transform = saved.part("data").get("transform")
    while isinstance(transform, Mapping) and transform.get("kind") == "features":
        transform = transform.get("inner")
    return isinstance(transform, Mapping) and transform.get("kind") in ("image", "audio")


def command(saved: Saved, options: str) -> str:
    """Return the command that trains the run again with other options."""
    source = saved.part("data").get("source") or {}
    if "data" not in source:
        return options
    target = f" --target {shell(str(source['target']))}" if source.get("target") else ""
    recipe = f" --recipe {shell(str(saved.path / 'recipe.json'))}"
    return f"trainwell fit {shell(str(source['data']))}{target}{_options(source)}{recipe} {options}".rstrip()


def _options(source: object) -> str:
    """Return the options of the data that differ from none, in the words of the command line."""
    assert isinstance(source, dict)
    told = ""
    for name, value in (source.get("options") or {}).items():
        if value in (None, [], (), False, 0, "warn"):
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            told += f" --{name.replace('_', '-')} {shell(words.number(each) if not isinstance(each, str) else each)}"
    return told


def shell(text: str) -> str:
    """Return the text as one word of a shell."""
    import shlex

    return shlex.quote(text)


def quoted(saved: Saved) -> str:
    """Return the folder of the run as one word of a shell."""
    return shell(str(saved.path))
