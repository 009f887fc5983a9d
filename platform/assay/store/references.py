"""What a person types, and the model or audit of the store that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.errors import AssayError, DataError, InputError, StoreError, UnknownName
from assay.store import best_trial, formats, services, trials_table
from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.store.trial_log import Record


def models(store: Store, text: str) -> list[str]:
    """The hashes of the models that `SWEEP:best`, `SWEEP:pareto`, `SWEEP:TRIAL` or, as in `model`, another text names.

    Raises UnknownName or InputError.
    """
    return _of_sweep(store, text) if ":" in text else [model(store, text)]


def model(store: Store, text: str) -> str:
    """The full hash for a hash, an unambiguous beginning of one, or the name of a service; hashes come first.

    Raises UnknownName or InputError.
    """
    names = store.names("models")
    matching = [name for name in names if name.startswith(text)] if len(text) >= 4 else []
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(f"model '{text}' is ambiguous: {', '.join(matching[:5])}; give more digits")
    if (serves := services.holder(store, text)) in names:
        return str(serves)
    if text in store.names("sweeps"):
        raise InputError(f"'{text}' is a sweep; name one of its models: {text}:best, or {text}:NUMBER of a trial")
    known = [*services.serving(store), *(name[: max(12, len(text))] for name in names[:20])]
    raise UnknownName("model", text, known, store.root)


def audit(store: Store, text: str) -> str:
    """The id of the audit that is meant: an id or its beginning, `latest`, or the newest of `SWEEP:best` or a service.

    Raises UnknownName or InputError. Only finished audits count.
    """
    newest = finished(store)
    if not newest:
        if not store.names("audits"):
            reason = f"the store {store.root} holds no audit; make one with `assay audit`, or give another --store"
        else:
            reason = f"no audit in the store {store.root} was finished; give the `assay audit` command again"
        named = text != "latest" and not any(name.startswith(text) for name in store.names("audits"))
        raise InputError(f"audit '{text}' is not known: {reason}" if named else reason)
    if text == "latest":
        return newest[-1]
    if ":" in text:
        wanted = models(store, text)
        audits = audits_of(store, wanted)
        if not audits:
            raise InputError(
                f"'{text}' names no finished audit; run `assay audit {text}` first, or give the audit's id"
            )
        if len(wanted) > 1:
            raise InputError(f"'{text}' names {len(wanted)} models; give the id of one audit: {', '.join(audits)}")
        return audits[-1]
    matching = sorted(name for name in newest if name.startswith(text))
    if len(matching) == 1 or text in matching:
        return text if text in matching else matching[0]
    if matching:
        raise InputError(f"audit '{text}' is ambiguous: {', '.join(matching[:5])}; give more of it")
    if serves := services.holder(store, text):
        if audits := audits_of(store, [serves]):
            return audits[-1]
        raise InputError(f"'{text}' names no finished audit; run `assay audit {text}` first, or give the audit's id")
    raise UnknownName("audit", text, ["latest", *newest[-10:]] if newest else [], store.root)


def newest_audit(store: Store, text: str) -> str:
    """The id of the newest audit of the one model whose hash begins with `text`, or which serves; else as `audit`."""
    of_text = [name for name in store.names("models") if name.startswith(text)]
    if not of_text and (serves := services.holder(store, text)):
        of_text = [serves]
    if len(of_text) != 1 or not store.names("audits"):
        return audit(store, text)
    audits = audits_of(store, of_text)
    if not audits:
        raise InputError(f"model {of_text[0][:12]} has no finished audit; run `assay audit {of_text[0][:12]}` first")
    return audits[-1]


def finished(store: Store) -> list[str]:
    """The ids of the audits that were finished, the newest last."""
    keys = {f"audits/{name}/audit.yaml": name for name in store.names("audits")}
    modified = store.modified(list(keys))
    return [keys[key] for key in sorted(modified, key=lambda key: modified[key])]


def readable(store: Store) -> tuple[list[Audit], dict[str, AssayError]]:
    """The finished audits, the newest last, and by its id the error of each whose audit.yaml cannot be read.

    Raises DataError for one of a newer version of Assay.
    """
    audits: list[Audit] = []
    damaged: dict[str, AssayError] = {}
    for name in finished(store):
        one = Audit(folder(store, name))
        try:
            if one.info["audit"]:
                audits.append(one)
        except formats.NewerFormatError:
            raise
        except (DataError, StoreError) as error:
            damaged[name] = error
    return audits, damaged


def of_model(audit: str, model: str) -> bool:
    """Whether an id is that of an audit of the model, which is all that is known of one that cannot be read."""
    return audit.startswith(f"{model[:12]}-")


def audits_of(store: Store, models: Sequence[str]) -> list[str]:
    """The ids of the finished audits of some models, the newest last; raises what is wrong with one of them."""
    audits, damaged = readable(store)
    for name, error in damaged.items():
        if any(of_model(name, one) for one in models):
            raise error
    return [one.folder.name for one in audits if one.info["model"] in models]


def folder(store: Store, audit: str) -> Store:
    """The folder of an audit."""
    return store.below(f"audits/{audit}")


def of_a_sweep(which: str) -> bool:
    """Whether text after `SWEEP:` names models of it: its best, its front, or a trial by number."""
    return which in ("best", "pareto") or which.isdecimal()


def _of_sweep(store: Store, text: str) -> list[str]:
    name, _, which = text.partition(":")
    if not of_a_sweep(which):
        raise InputError(f"'{text}': after the colon write best, pareto or the number of a trial, such as {name}:best")
    spec, records = trials_table.load(store, name)
    if which.isdecimal():
        return [_of_trial(store, name, records, int(which))]
    best = best_trial.choose(store, spec, records).trial  # also says so where no trial is complete
    numbers = [best] if which == "best" else trials_table.pareto(spec.directions, records, spec.constraints)
    return [records[number].reports[-1]["model"] for number in numbers]


def _of_trial(store: Store, sweep: str, records: Mapping[int, Record], number: int) -> str:
    """The model of a trial as of its last report."""
    if number not in records:
        raise InputError(f"sweep '{sweep}' has no trial {number}; `assay trials {sweep}` lists them")
    reports = records[number].reports
    model = str(reports[-1]["model"]) if reports else ""
    if model not in store.names("models"):
        raise InputError(f"trial {number} of sweep '{sweep}' is {records[number].state} and has no model in the store")
    return model
