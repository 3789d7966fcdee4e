"""The sabotages: what is replaced by what, in which file, and the fastest tests that must turn red."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    """Old and new text; each old one stands exactly once in the file."""
    tests: str
    """What pytest is given: files, or tests in them."""


def mutant(name: str, file: str, old: str, new: str, tests: str) -> Mutant:
    return Mutant(name, file, ((old, new),), tests)


WALK, UNTIL = "tests/unit/incremental/test_walk.py", "tests/unit/incremental/test_until_older.py"
REST = "tests/unit/http/test_client.py"
LINKS, ERRORS = "tests/unit/http/test_links.py", "tests/unit/http/test_error_answers.py"
ENDS = "tests/unit/incremental/test_listing_end.py"
RULES = "tests/contract"
TURNS = "tests/destinations/test_lake_turns.py"
ROUNDS, KINDS = "tests/unit/test_rounds.py", "tests/unit/test_kinds_of_gaps.py"
LOGS = '__import__("logging").getLogger(__name__).warning("%s", response.request.headers.raw)'
PAGE = "msgspec.field(default_factory=Pagination)"
WIPE = "                shutil.rmtree(folder, ignore_errors=True)\n"

MUTANTS = (
    # paging and watermarks
    mutant(
        "drop a page", "sources/tines/api.py",
        "number, size, overlaps = following", "number, size, overlaps = following[0] + 1, *following[1:]",
        "tests/sources/test_tines.py",
    ),
    mutant(
        "an end is believed", "sources/_incremental/listing_end.py",
        "if distinct < needed else None", "if False else None", ENDS,
    ),
    mutant(
        "an id that comes twice counts twice", "sources/_incremental/listing_end.py",
        "len({*self._ids, *(self._earlier if joined else ())})", "len(self._ids)", ENDS,
    ),
    mutant(
        "the seam of two pages is not compared", "sources/_incremental/listing_end.py",
        "self._seam.isdisjoint([*found, *texts])", "False", ENDS,
    ),
    mutant(
        "a total that falls is nothing", "sources/_incremental/listing_end.py",
        "total < self.last_total", "False", ENDS,
    ),
    mutant(
        "a reading that was broken counts in the next one", "sources/_incremental/listing_end.py",
        "if (not self.broken or self._moved) and self.total", "if self.total", ENDS,
    ),
    mutant(
        "what moved counts in the next reading", "sources/_incremental/listing_end.py",
        "self._same_total and not self._moved_before", "self._same_total", ENDS,
    ),
    mutant(
        "two readings that were torn alike are not compared", "sources/_incremental/listing_end.py",
        "both and self._same_total and set(self._ids) == set(self._earlier)", "both", ENDS,
    ),
    mutant(
        "records without an id count once a text", "sources/_incremental/listing_end.py",
        "(texts - self._previous_nameless if overlaps else texts).total()",
        "len(set(texts) - set(self._previous_nameless))", ENDS,
    ),
    mutant(
        "a last reading stops where records vanished", "sources/_incremental/parent_listing.py",
        "to_the_end=reading + 1 == PAGES_READINGS", "to_the_end=False", ENDS,
    ),
    mutant(
        "the page that ends early is not asked for again", "sources/_incremental/newest_first.py",
        "if cursor not in self._asked_twice:", "if False:", "tests/contract/test_ends.py",
    ),
    mutant(
        "an empty page hides what it should have held", "sources/_incremental/newest_first.py",
        "if not count and end.total is not None:", "if False:", ENDS,
    ),
    mutant(
        "a page that is asked for again counts twice", "sources/_incremental/newest_first.py",
        "self._walk.after, self._walk.met = cursor, met", "self._walk.after = cursor", ENDS,
    ),
    mutant(
        "a kept cursor is trusted with an empty answer", "sources/_incremental/newest_first.py",
        "if self._resumed and self._first and not count:", "if False:",
        "tests/contract/test_ends.py -k resumed",
    ),
    mutant(
        "a later page that is not found is its parent's end", "sources/_incremental/parent_listing.py",
        "if end.began:", "if False:", ENDS,
    ),
    mutant(
        "a walk closes letters of records that it leaves out", "sources/_incremental/feed.py",
        '[record_id(record) for record in records]', '[record_id(record) for record in page.records]',
        "tests/contract/test_letters.py -k closes",
    ),
    mutant(
        "a window closes the rest of its parents' letters", "sources/_incremental/rounds/parent_sync.py",
        "rest = [] if self._per.proof(key) or self._per.window else", "rest = [] if self._per.proof(key) else",
        "tests/contract/test_letters.py",
    ),
    mutant(
        "`--id` believes a digest", "sources/_incremental/rounds/parent_sync.py",
        "self._per.coverage.get(key), not self._session.ids", "self._per.coverage.get(key), True",
        "tests/contract/test_letters.py -k named",
    ),
    mutant(
        "a mistyped id is a failed parent", "sources/_incremental/rounds/parent_sync.py",
        "NotFound | BadRequest) and self._per.is_unknown(key)", "NotFound | BadRequest) and False",
        "tests/contract/test_letters.py -k mistyped",
    ),
    mutant(
        "a resumed backfill skips who sorts before its mark", "sources/_ledger/backfill_state.py",
        "or _part(key) in changed", "or False", "tests/contract/test_backfill_newcomers.py",
    ),
    mutant(
        "what a listing tells of held records is not used", "sources/_incremental/rounds/detail_parent.py",
        "or self._moved(key, times[key])", "or False", "tests/sources/test_kizen.py -k held",
    ),
    mutant(
        "what retention took is not told", "sources/_incremental/rounds/parent_sync.py",
        "if keeps else {}", "if False else {}", "tests/sources/test_tines.py -k outage",
    ),
    mutant(
        "what went as it should is told as lost", "sources/_ledger/per_parent.py",
        "if oldest > checked - lag and self.now - checked <= lasts:", "if False:",
        "tests/sources/test_tines.py -k as_they_should",
    ),
    mutant(
        "the newest records are those of the first page", "sources/_ledger/walk_state.py",
        "newer = before is not None and bool(past) and max(past) > before", "newer = False", WALK,
    ),
    mutant(
        "what is gone is asked for again", "sources/_incremental/rounds/detail_sync.py",
        "keys = self._without_gone(keys)", "keys = [*keys]",
        "tests/contract/test_alarms_end.py -k look_back_is_deleted",
    ),
    mutant(
        "skip the look-back", "sources/_ledger/walk_state.py",
        "earlier(self.newest, lag) if self.newest", "self.newest if self.newest", WALK,
    ),
    mutant(
        "compare times as strings", "sources/_ledger/walk_state.py",
        "all(at < floor for", "all(str(at) < str(floor) for",
        "tests/stateful/test_state_machine.py -k instants",
    ),
    mutant(
        "the closed interval made open", "sources/_ledger/walk_state.py",
        "all(at < floor for", "all(at <= floor for", WALK,
    ),
    mutant(
        "the watermark moves at the first page", "sources/_incremental/newest_first.py",
        "walk.met, walk.total = end.met, end.total",
        "walk.met, walk.total, self._progress.watermark = end.met, end.total, walk.top", WALK,
    ),
    mutant(
        "another account's listing is believed to go on", "sources/_ledger/walk_state.py",
        "        if done.known:", "        if False:", WALK,
    ),
    mutant(
        "a page that is not sorted is believed to be", "sources/_ledger/walk_state.py",
        "falls = all(one >= other for one, other in pairwise(times)) and", "falls =", WALK,
    ),
    mutant(
        "a merge in two transactions", "pipelines/destinations/_dlt/duckdb_client.py",
        "credentials, supports_transactions=True, ", "credentials, ", "tests/destinations/test_duckdb_file.py",
    ),
    mutant(
        "the future moves the watermark", "sources/_ledger/walk_state.py",
        "for at in page.times if at <= now]", "for at in page.times]", WALK,
    ),
    mutant(
        "the future moves a parent's watermark", "sources/_ledger/per_parent.py",
        "if i and i <= self.now]", "if i]",
        "tests/sources/test_tines.py tests/sources/test_omni.py tests/sources/test_kizen.py",
    ),
    mutant(
        "an unsorted listing is believed sorted", "sources/_incremental/newest_first.py",
        "proven = sorted_so_far and descended and not", "proven = not", UNTIL,
    ),
    mutant("no loop guard", "sources/_http/paging.py", "if mark in self._seen:", "if False:", f"{WALK} -k loop"),
    mutant(
        "a count is believed for ever", "sources/_incremental/rounds/detail_parent.py",
        "known.digest != self.count or not believed", "known.digest != self.count", "tests/sources/test_kizen.py",
    ),
    mutant(
        "proofs ignore the initial value", "sources/_ledger/per_parent.py",
        "return None if _before(self.to_load.since, known.covered_from) else known", "return known",
        "tests/sources/test_tines.py tests/sources/test_kizen.py",
    ),
    mutant(
        "a parent that is listed and not found is gone", "sources/_incremental/rounds/parent_sync.py",
        "return self._per.fail(key, error)", "return self._per.close(key, error)", "tests/contract/test_gone.py",
    ),
    mutant(
        "a parent with a bad record is not read whole", "sources/_ledger/per_parent.py",
        "if known is None or self.window or parent in self._parents_with_dead_letters:",
        "if known is None or self.window:", "tests/sources/test_tines.py -k heals",
    ),
    # cells, and records of two parents
    mutant(
        "cells of rows below records are not compared", "pipelines/verify/cells/cells.py",
        "for shape in table.schema.tree():\n            owner", "for shape in [table.schema]:\n            owner",
        "tests/contract/test_cells.py -k each_damage and child_doubled",
    ),
    mutant(
        "rows too many below a record are not seen", "pipelines/verify/cells/cells.py",
        "self.extra += sum(map(len, left.values()))", "pass",
        "tests/contract/test_cells.py -k each_damage and child_doubled",
    ),
    mutant(
        "to JSON true is 1", "pipelines/verify/cells/cells.py",
        "if type(one) is not type(other):", "if False:", "tests/unit/test_cells.py",
    ),
    mutant(
        "what differs is not noted", "pipelines/verify/notes.py",
        "noted = sum(map(len, found.to_read.values()))", "noted = records",
        "tests/contract/test_cells.py -k a_sample",
    ),
    mutant(
        "the second of two parents takes the record", "sources/_ledger/record_owners.py",
        "if other != parent and (met", "if False and (met", "tests/contract/test_two_parents.py -k of_two_parents",
    ),
    mutant(
        "a record that moved counts as one of two parents", "sources/_ledger/record_owners.py",
        "return served is None or record in served", "return True",
        "tests/contract/test_two_parents.py -k of_two_parents",
    ),
    # what is loaded
    mutant(
        "append instead of merge", "sources/_ledger/ledger.py",
        'MERGE = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}',
        'MERGE = {"disposition": "append"}', "tests/sources/test_sequence.py",
    ),
    mutant(
        "no dedupe in a package", "sources/_ledger/package.py",
        "stale = {one for one in rows.ids if one in seen or one in written}", "stale = set[str]()",
        "tests/stateful/test_state_machine.py -k twice",
    ),
    Mutant(
        "the first seen wins", "sources/_ledger/package.py",
        (("in reversed(columns):", "in columns:"), ("return batches[::-1]", "return batches")),
        "tests/stateful/test_state_machine.py -k twice",
    ),
    mutant(
        "children are not replaced", "sources/_extract/hints.py",
        'ROOT_ID: {"root_key": True},', "ROOT_ID: {},",
        "tests/sources/test_kizen.py tests/sources/test_omni.py",
    ),
    mutant(
        "unknown fields are dropped", "sources/_schema/parse.py",
        'known["_extra"] = object_text(extra)', "pass", "tests/sources/test_omni.py tests/sources/test_sequence.py",
    ),
    # the ledger
    mutant(
        "dead letters are forgotten", "sources/_ledger/stored/reader.py",
        'if is_kept or not (row["healed_at"] and completed):',
        "if is_kept:",
        f"{RULES} -k heals",
    ),
    mutant(
        "healed before it is committed", "pipelines/sync/history.py",
        "where {healed} and {is_completed(loads)}", "where {healed}", f"{RULES} -k heals",
    ),
    mutant(
        "a bad record that goes takes its text along", "sources/_ledger/dead_letters.py",
        "reason = NOT_SERVED + letter.reason if is_lost else letter.reason", "reason = letter.reason",
        "tests/unit/incremental/test_dead_letters.py -k not_served",
    ),
    mutant(
        "rows below do not make a record changed", "sources/_dlt/row_changes.py",
        "        *(_below(table, names, quoted, row) for table in nested),\n", "",
        "tests/unit/test_row_changes.py -k below",
    ),
    mutant(
        "after a quota all others are asked", "sources/_http/client.py",
        "if self._spent and self._clock() < self._spent[0]:", "if False:", f"{ERRORS} -k quota",
    ),
    mutant(
        "proofs of loads that broke off are believed", "sources/_ledger/stored/reader.py",
        "(found.add if completed else found.add_in_doubt)",
        "found.add",
        "tests/stateful/test_state_machine.py -k broke",
    ),
    mutant(
        "the lock is not taken", "pipelines/destinations/file_lock.py",
        "held.enter_context(FileLock(file).acquire(timeout=0))", "pass", f"{RULES} -k lock",
    ),
    mutant(
        "rows below nothing stay", "pipelines/sync/lost_rows.py",
        "delete_orphans(client, source, now)", "pass", "tests/stateful/test_accidents.py -k until",
    ),
    # HTTP
    Mutant(
        "an error envelope is believed", "sources/sequence/api.py",
        (
            ("    items: list[msgspec.Raw]\n", "    items: list[msgspec.Raw] = []\n"),
            ("    pagination: Pagination\n", f"    pagination: Pagination = {PAGE}\n"),
        ),
        "tests/stateful/test_state_machine.py -k without_records",
    ),
    mutant(
        "Retry-After is ignored", "sources/_http/retry.py", "if retry_after is None:", "if True:",
        "tests/unit/http/test_retry.py",
    ),
    mutant(
        "the retry budget is endless", "sources/_http/retry.py",
        "if spent + needed > policy.budget:", "if spent + needed > 1e4 * policy.budget:",
        "tests/unit/http/test_retry.py",
    ),
    mutant(
        "a quota is asked again and again", "sources/_http/retry.py",
        "needed = max(wait, error.retry_after or 0.0)", "needed = wait", "tests/unit/http/test_retry.py",
    ),
    mutant(
        "a key may stand twice", "sources/_http/body/decoding.py",
        "if not repeats_key(body):", "if True:", REST,
    ),
    mutant(
        "a gzip member is the whole", "sources/_http/body/content_encoding.py",
        "left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail", "left = inflate.unconsumed_tail",
        "tests/unit/http/test_content_encoding.py",
    ),
    mutant(
        "an unknown encoding is text", "sources/_http/body/content_encoding.py",
        'elif encoding not in ("identity", ""):', "elif not encoding:", "tests/unit/http/test_content_encoding.py",
    ),
    mutant(
        "DuckDB gets no more memory", "pipelines/destinations/_dlt/duckdb_memory.py",
        "if not _wants_memory(error) or now >= most:", "if True:", "tests/destinations/test_wide_records.py",
    ),
    mutant(
        "a record may have any width", "sources/_schema/destination_limits.py",
        "if self.megabytes is None or len(raw) <= self.megabytes * 1e6:", "if True:",
        "tests/destinations/test_wide_records.py",
    ),
    mutant("401 is retried", "sources/_http/errors.py", "{401: Unauthorized,", "{401: Unavailable,", ERRORS),
    mutant(
        "the deadline is not checked", "sources/_http/transport.py",
        "if left <= 0:", "if False:", f"{REST} -k trickle",
    ),
    mutant(
        "a foreign link is followed", "sources/_http/links.py",
        "if origin(found) == origin(home):", "if found.host:", LINKS,
    ),
    Mutant(
        "redirects are followed", "sources/_http/connection/connect.py",
        (("follow_redirects=False", "follow_redirects=True"), ("[_set_location_aside]", "[]")), LINKS,
    ),
    # secrets and privacy
    mutant(
        "the key goes to any host", "sources/_http/auth.py",
        "if origin(request.url) == self._origin:", "if True:", "tests/unit/http/test_auth.py",
    ),
    mutant(
        "a header is logged", "sources/_http/error_answers.py",
        "        error = error_class(status)\n", f"        error = error_class(status)\n        {LOGS}\n",
        "tests/sources/test_security.py -k keys",
    ),
    mutant(
        "a reason quotes the value", "sources/_schema/parse.py",
        "{error['msg'].removeprefix('Value error, ')}", "{error['msg']} {error['input']}",
        "tests/contract/test_personal_data.py",
    ),
    mutant(
        "hashes without the key", "sources/_schema/privacy.py",
        "hmac.new(self.key, text", 'hmac.new(b"", text', "tests/sources/test_security.py -k equal",
    ),
    mutant(
        "dead letters keep private records", "sources/_schema/privacy.py",
        'actions[DEAD_LETTER_TEXT] = "drop"', "pass", "tests/contract/test_personal_data.py",
    ),
    Mutant(
        "the working folder is kept", "pipelines/destinations/target.py",
        (
            (
                f"{WIPE}                self._remove_left(sources)\n                folder.mkdir(mode=0o700)",
                "                folder.mkdir(exist_ok=True)",
            ),
            (f"            finally:\n{WIPE}", "            finally:\n                pass\n"),
        ),
        "tests/destinations/test_duckdb_file.py tests/stateful/test_accidents.py -k working",
    ),
    # claims
    mutant(
        "verify believes the end of a listing", "sources/_incremental/listing.py",
        "why = end.why_again(expected)", "why = None", "tests/contract/test_ends.py -k verify",
    ),
    mutant(
        "verify takes a page that is not found for an end", "pipelines/verify/comparison.py",
        "isinstance(answer.error, NotFound) and self._here.proofs[answer.parent.id].gone",
        "isinstance(answer.error, NotFound)", "tests/contract/test_ends.py -k verify",
    ),
    mutant(
        "nobody counts what the vendor told", "pipelines/evidence/kinds/parents.py",
        "    if not told:\n", "    if True:\n", "tests/contract/test_truth.py -k fewer",
    ),
    mutant(
        "a record read by its id stands for all", "pipelines/evidence/kinds/unasked.py",
        "ended and not ledger.rows(ANY_ROW, ledger.main.name)", "ended",
        "tests/contract/test_truth.py -k one_record",
    ),
    mutant(
        "a watermark past its records is believed", "sources/_incremental/rounds/parent_sync.py",
        "if here is None or here < watermark:", "if False:", "tests/contract/test_truth.py -k later_than",
    ),
    mutant(
        "a watermark past its records is written again", "sources/_ledger/per_parent.py",
        "self._disbelieved[parent] = newest", "pass", "tests/contract/test_truth.py -k later_than",
    ),
    # gaps: rounds, parents, counts
    mutant(
        "shards of an older split count as run", "pipelines/evidence/rounds.py",
        "not of_part(of_this_split(since), part)", "not of_part(since, part)", f"{ROUNDS} -k older_split",
    ),
    mutant(
        "what an older split left fails for ever", "pipelines/evidence/rounds.py",
        "own = rounds if part.whole else of_part(of_this_split(rounds), part)", "own = of_part(rounds, part)",
        f"{ROUNDS} -k older_split",
    ),
    mutant(
        "a sync of a part is a round", "pipelines/evidence/rounds.py",
        'return "scope is null" if "scope" in columns else "1 = 1"', 'return "1 = 1"', f"{ROUNDS} -k part",
    ),
    mutant(
        "a round in the future hides all others", "pipelines/evidence/rounds.py",
        "one.finished_at <= now + CLOCKS_DIFFER]", "True]", f"{ROUNDS} -k future",
    ),
    mutant(
        "a row that no sync wrote ends every command", "pipelines/evidence/rounds.py",
        "with suppress(ValueError):", "with suppress(KeyError):", f"{ROUNDS} -k no_sync",
    ),
    mutant(
        "the last shard speaks for all", "pipelines/evidence/rounds.py",
        "return min(newest, key=lambda one: WORST.index(one.outcome) if one.outcome in WORST else 0, default=None)",
        "return newest[-1] if newest else None", f"{ROUNDS} -k worst",
    ),
    mutant(
        "one shard follows for all", "pipelines/evidence/rounds.py",
        "bool(since) and all(", "bool(since) and any(", "tests/commands/test_full_disk.py -k answered",
    ),
    mutant(
        "a round that failed at its end left all unasked", "pipelines/evidence/kinds/unasked.py",
        "if _asked_all(ledger, shard, failed[0]):", "if False:", f"{KINDS} -k asked_for_all",
    ),
    mutant(
        "what was asked after a round counts in it", "pipelines/evidence/kinds/unasked.py",
        "began <= at <= ended for at", "began <= at for at", f"{KINDS} -k asked_for_all",
    ),
    mutant(
        "a parent that left grows stale", "pipelines/evidence/kinds/unasked.py",
        "if proof.parent in read and not proof.gone]", "if proof.parent in read]", f"{KINDS} -k stale",
    ),
    mutant(
        "what is late is said before what is lost", "pipelines/evidence/kinds/unasked.py",
        "((ledger.source.facts.keeps, \"the vendor keeps records\"), (max_age, \"--max-age allows\"))",
        "((max_age, \"--max-age allows\"), (ledger.source.facts.keeps, \"the vendor keeps records\"))",
        f"{KINDS} -k limit",
    ),
    mutant(
        "a parent that fails is told twice", "pipelines/evidence/kinds/unfinished.py",
        "elif key not in failing:", "else:", f"{KINDS} -k told_once",
    ),
    mutant(
        "only the first parents are counted", "pipelines/evidence/kinds/parents.py",
        "for begin in range(0, len(each), TOGETHER):", "for begin in (0,):", f"{KINDS} -k many_parents",
    ),
    mutant(
        "what was erased on purpose is lost", "pipelines/evidence/kinds/parents.py",
        "rows + erased.count(proof.parent) <", "rows <", f"{KINDS} -k erased",
    ),
    mutant(
        "what a step of the user left out is lost", "pipelines/evidence/kinds/parents.py",
        'if "filtered" in ledger.reader', 'if "-" in ledger.reader', f"{KINDS} -k left_out",
    ),
    mutant(
        "a parent that left holds the watermark back", "pipelines/evidence/proofs.py",
        "known = [proof for proof in proofs if not proof.gone]", "known = [*proofs]", f"{KINDS} -k watermark",
    ),
    mutant(
        "a load that broke off proves", "pipelines/evidence/proofs.py",
        "        if self.broke_off:\n            return None\n", "", f"{KINDS} -k watermark",
    ),
    mutant(
        "only the first parents are noted as unchanged", "pipelines/sync/unchanged.py",
        "for begin in range(0, len(unchanged.parents), IN_LIST):", "for begin in (0,):",
        f"{KINDS} -k nothing_changed",
    ),
    mutant(
        "texts of another account are changes", "sources/_ledger/account/evidence.py",
        "if not all(firm) or 2 * texts.count(False) > len(texts):", "if not all(firm):",
        "tests/unit/incremental/test_account_evidence.py",
    ),
    mutant(
        "counts and what they replace are not written together", "pipelines/sync/history.py",
        "    with client.begin_transaction():\n        if only_count:", "    if True:\n        if only_count:",
        "tests/contract/test_crash.py -k notes_how",
    ),
    # shards, copies, schedulers
    mutant(
        "every shard reads every parent", "sources/_ledger/shard.py",
        "% self.of == self.number - 1", "% self.of >= 0", "tests/commands/test_shards.py -k belongs or own",
    ),
    mutant(
        "each shard takes the whole rate budget", "sources/_ledger/shard.py",
        "return requests_per_minute // self.of +", "return requests_per_minute +",
        "tests/commands/test_shards.py -k budget",
    ),
    mutant(
        "two splits at once", "pipelines/destinations/advisory_lock.py",
        "if not mine or answer(OTHER_SPLITS, shards % 2**32, shard.of)", "if not mine",
        "tests/commands/test_shards.py -k beside",
    ),
    mutant(
        "writers to a lake have no turns", "pipelines/destinations/_postgres/turns.py",
        "if self._mine:", "if True:", f"{TURNS} -k writers",
    ),
    mutant(
        "the commit of a dead writer is not waited for", "pipelines/destinations/_postgres/turns.py",
        "if mine and not holder:", "if mine:", f"{TURNS} -k commit",
    ),
    mutant(
        "a turn is waited for in vain again and again", "pipelines/destinations/_postgres/turns.py",
        "if self._in_vain else LIMIT", "if False else LIMIT", f"{TURNS} -k again",
    ),
    mutant(
        "a turn is held without its connection", "pipelines/destinations/_postgres/turns.py",
        "                self._require()\n", "", f"{TURNS} -k gone",
    ),
    mutant(
        "a lake is compacted beside a sync", "pipelines/maintenance/compact.py",
        "*(() if target.backend.compacts_whole else names)", "*names", f"{TURNS} -k beside",
    ),
    mutant(
        "letters of another shard's parents are closed", "sources/_ledger/stored/reader.py",
        'and self._shard.contains(row["parent"] or row["key"])', "and True",
        "tests/commands/test_shards.py -k letter",
    ),
    mutant(
        "a copy begins anew each time", "pipelines/destination_copy/dataset.py",
        'copied["load"] = loads[-1]', "pass", "tests/commands/test_copy.py -k is_the_file or interrupted",
    ),
    mutant(
        "a copy forgets the file's healed letters", "pipelines/destination_copy/dataset.py",
        'client.execute_sql(f"delete from {letters} where {ROW_ID} = %s", letter)', "pass",
        "tests/commands/test_copy.py",
    ),
    mutant(
        "a copy leaves out what the destination cannot store in silence", "pipelines/destination_copy/dataset.py",
        "        refused.add(Batch(DEAD_LETTERS, [letter]))\n", "        return\n",
        "tests/commands/test_copy.py -k store",
    ),
    mutant(
        "who is ended by a scheduler says complete", "pipelines/sync/run.py",
        "except BaseException as error:", "except (Exception, KeyboardInterrupt) as error:",
        "tests/stateful/test_accidents.py -k scheduler",
    ),
    mutant(
        "no index for what a merge looks up", "pipelines/destinations/_dlt/postgres_client.py",
        "for c in columns} and not generate_alter:", "for c in columns} and False:",
        "tests/destinations/test_postgres.py -k index",
    ),
)  # fmt: skip
