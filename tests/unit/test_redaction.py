"""What counts as a secret among the settings, and that it is found in whatever form a text has it."""

from __future__ import annotations

import base64
import html
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from gapless.pipelines import redaction
from gapless.pipelines.errors import frames, summarize
from gapless.pipelines.secret_forms import finder
from gapless.sources import SOURCES

AWS = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE=="
"""Of the form of an AWS secret: with a slash, a plus and equals signs."""
WORDS = "pear tree & 'plum' \"fig\" \\ ä ☃"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\nAgEAAoIBAQC7VJTUt9Us\n-----END PRIVATE KEY-----\n"
NAME, SOURCE = next(iter(SOURCES.items()))
KEY = SOURCE.needs[0].upper()
PASSWORD = "DESTINATION__POSTGRES__CREDENTIALS__PASSWORD"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())


def learn(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    redaction.register_secrets(again=True)


def test_only_the_password_of_credentials_in_parts_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role is often called like this command; hidden, no message could name the command that helps."""
    parts = {"HOST": "127.0.0.1", "USERNAME": "gapless", "DATABASE": "birds", "PASSWORD": "canary-pear"}
    for name, value in parts.items():
        monkeypatch.setenv(f"DESTINATION__POSTGRES__CREDENTIALS__{name}", value)
    catalog = "postgresql://gapless:canary-plum@db.example.com/logs"
    monkeypatch.setenv("DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG", catalog)
    (tmp_path / ".dlt").mkdir()
    toml = '[destination.redshift.credentials]\nhost = "localhost"\nusername = "gapless"\npassword = "canary-fig"\n'
    (tmp_path / ".dlt" / "secrets.toml").write_text(toml)
    redaction.register_secrets(again=True)
    said = "gapless sync birds: 127.0.0.1 localhost canary-pear canary-plum canary-fig"
    assert redaction.redact(said) == "gapless sync birds: 127.0.0.1 localhost *** *** ***"


SETTINGS = {
    "DESTINATION__FILESYSTEM__CREDENTIALS__AWS_SECRET_ACCESS_KEY": AWS,
    "DESTINATION__FILESYSTEM__CREDENTIALS__AWS_SESSION_TOKEN": AWS,
    "DESTINATION__ATHENA__CREDENTIALS__SOMETHING_NEW": AWS,
    "DESTINATION__SNOWFLAKE__CREDENTIALS__PRIVATE_KEY": AWS,
    "DESTINATION__BIGQUERY__CREDENTIALS": json.dumps({"private_key": AWS, "project_id": "birds"}),
    "DESTINATION__MOTHERDUCK__CREDENTIALS": f"md:birds?motherduck_token={quote(AWS, safe='')}",
    "DESTINATION__FILESYSTEM__BUCKET_URL": f"s3://id:{quote(AWS, safe='')}@bucket/folder",
    "AWS_SECRET_ACCESS_KEY": AWS,
    "SOMEBODY_TOKEN": AWS,
    KEY: AWS,
    "GAPLESS_HASH_KEY": AWS,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_slash_makes_no_path_of_a_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only credentials as a whole may be the path of a database file; a part of them is a secret."""
    learn(monkeypatch, **{name: SETTINGS[name]})
    assert redaction.redact(f"of birds: {AWS}, {quote(AWS, safe='')}") == "of birds: ***, ***"


@pytest.mark.parametrize(
    "toml",
    [
        f'[destination.filesystem.credentials]\naws_secret_access_key = "{AWS}"\n',
        f'[destination.filesystem.credentials]\nsomething_new = "{AWS}"\n',
        f'[destination.filesystem]\ncredentials = {{ aws_secret_access_key = "{AWS}" }}\n',
        f'[[destination.filesystem.credentials]]\nx = ["{AWS}"]\n',
        f'{KEY.lower()} = "{AWS}"\n',
    ],
)
@pytest.mark.parametrize("file", ["secrets.toml", "config.toml"])
def test_the_same_in_files(toml: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in config.toml, where dlt looks for no secret and people write some."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / file).write_text(toml)
    learn(monkeypatch)
    assert redaction.redact(f"Access denied for {AWS}.") == "Access denied for ***."


def test_what_is_no_secret_among_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB's are a path, whatever the file is called; of libpq's words the password alone is one."""
    address = "host=db.example.com dbname=birds target_session_attrs=any password=canary-pear"
    learn(monkeypatch, DESTINATION__DUCKDB__CREDENTIALS="birdlogs", DESTINATION__POSTGRES__CREDENTIALS=address)
    said = "birdlogs db.example.com target_session_attrs"
    assert redaction.redact(f"{said} canary-pear") == f"{said} ***"


def test_paths_of_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot name the file helps nobody; the same for the file of a foreign key."""
    key = tmp_path / "private.pem"
    key.touch()
    learn(monkeypatch, DESTINATION__DUCKDB__CREDENTIALS=f"{tmp_path}/logs.duckdb", SOME_SSL_KEY=str(key))
    said = f"{tmp_path}/logs.duckdb, {key}"
    assert redaction.redact(said) == said


def forms(secret: str) -> dict[str, str]:
    """How libraries write a secret."""
    raw = secret.encode()
    wide = "".join(f"&#x{ord(one):x};" if one not in "-_.~" and not one.isalnum() else one for one in secret)
    return {
        "as it is": secret,
        "in a URL": quote(secret, safe=""),
        "in a path": quote(secret),
        "in a form": quote_plus(secret),
        "in small letters": quote(secret, safe="").replace("%2F", "%2f").replace("%3D", "%3d").replace("%2B", "%2b"),
        "encoded twice": quote(quote(secret, safe=""), safe=""),
        "in JSON": json.dumps(secret)[1:-1],
        "in JSON, as it may be": json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        "in JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "in Python": repr(secret)[1:-1],
        "in bytes": repr(raw)[2:-1],
        "in HTML": html.escape(secret),
        "in HTML, by numbers": wide,
        "in SQL": secret.replace("'", "''"),
    }


@pytest.mark.parametrize("secret", [AWS, WORDS, "canary/key+1=", "s3cr:e@t/", PEM.strip()])
def test_each_form_is_found(secret: str) -> None:
    """Each form that a library gives it, in the middle of a sentence."""
    find = finder({secret})
    for form, text in forms(secret).items():
        assert find.blanked(f"error: {text}, so nothing") == "error: ***, so nothing", form


@pytest.mark.parametrize("secret", [AWS, "canary-key-0123456789", WORDS])
def test_base64_is_found(secret: str) -> None:
    """Wherever in the encoded text it begins, as in a header or in a token, at most three bytes of it are left."""
    find = finder({secret})
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in ("", "a", "ab", "abc:", "user:"):
            for after in ("", "x", "yz", ":more"):
                left = find.blanked(encode(f"{before}{secret}{after}".encode()).decode())
                assert "***" in left
                known = base64.b64decode(left.partition("***")[0] + "====", altchars=b"-_")
                assert len(known) - len(before) <= 3, left


def test_a_part_that_is_quoted_is_found() -> None:
    """Cut at the end of a message, a half after a slash, the first line of a key."""
    find = finder({AWS, PEM})
    assert find.blanked(f"wrong: {AWS[:26]}…") == "wrong: ***"
    assert find.blanked(f'no host "{AWS.split("/", 1)[1]}"') == 'no host "***"'
    assert find.blanked(f"no host {AWS.split('/', 1)[0]}") == "no host ***"
    for line in PEM.splitlines()[1:-1]:
        assert find.blanked(f"log: {line}") == "log: ***"
    cut = summarize(RuntimeError(f"{'x' * 280} {AWS}"))
    assert AWS[:12] not in find.blanked(cut)


def test_short_secrets_blank_no_words() -> None:
    """A short one counts where it stands alone; four characters are the least."""
    find = finder({"fig7", "plum"})
    assert find.blanked("fig7 (fig7) u:fig7@h %2Ffig7 figs7 plumage") == "*** (***) u:***@h %2F*** figs7 plumage"


def test_words_of_our_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password like a word of our messages is not hidden there, as the gap would tell it; in an address it is."""
    learn(monkeypatch, **{PASSWORD: "gapless", KEY: NAME, "SOME_API_TOKEN": "abc"})
    assert redaction.redact(f"gapless sync {NAME} abc") == f"gapless sync {NAME} abc"
    assert redaction.redact("postgres://gapless:gapless@db/x") == "postgres://gapless:***@db/x"
    assert redaction.redact("host=db password=gapless user=gapless") == "host=db password=*** user=gapless"
    assert redaction.redact("password='gap less' host=db") == "password=*** host=db"


def test_addresses_need_no_setting() -> None:
    """A password in an address is hidden although no setting holds it; the examples in our messages stay."""
    for text in ("http://proxy:3128/x@y", "postgresql://user:password@host:5432/database", "at 10:30 a@b", "a://b@c"):
        assert redaction.redact(text) == text
    assert redaction.redact("http://me:canary@x@proxy:3128") == "http://me:***@proxy:3128"


def test_a_key_that_was_changed_stays_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync --every` reads the files again: both the old key and the new one are blanked."""
    (tmp_path / ".dlt").mkdir()
    file = tmp_path / ".dlt" / "secrets.toml"
    for key in ("canary-old/1", "canary-new/2"):
        file.write_text(f'[sources.{NAME}]\n{KEY.lower()} = "{key}"\n')
        redaction.register_secrets(again=True)
    assert redaction.redact("canary-old/1 canary-new/2") == "*** ***"


def failing() -> RuntimeError:
    """Returns an error that was raised from others, each of which quotes a secret."""
    try:
        try:
            raise OSError(f"GET /?key={quote(AWS, safe='')}")
        except OSError as cause:
            raise RuntimeError(f"refused: {AWS}\nacme: complete, 99 rows") from cause
    except RuntimeError as error:
        return error


def test_tracebacks() -> None:
    """No cause in the chain shows the secret, and no line of an error's text passes for one of a log."""
    redaction._known.add(AWS)
    trace = redaction.printable(frames(failing()), lines=True)
    assert "EXAMPLE" not in trace
    assert trace.count("***") == 2
    assert "    acme: complete, 99 rows" in trace.splitlines()


@pytest.mark.parametrize("formatter", [None, logging.Formatter("%(name)s [%(levelname)s] %(message)s")])
def test_logs(formatter: logging.Formatter | None) -> None:
    """Of any logger, with its traceback: one line each, escaped, without a secret."""
    redaction._known.add(AWS)
    raised = failing()
    said, args = "lead %s\x1b[2J\nacme: complete, 99 rows: %s", ("\u202e", AWS)
    record = logging.LogRecord(
        "dlt", logging.ERROR, "x.py", 1, said, args, (RuntimeError, raised, raised.__traceback__)
    )
    shown = redaction.Redacting(formatter).format(record)
    first, *others = shown.splitlines()
    assert first.endswith("lead \\u202e\\x1b[2J\\nacme: complete, 99 rows: ***")
    assert others[0] == "Traceback (most recent call last):"
    assert "EXAMPLE" not in shown
    assert [line for line in others if line.startswith("acme")] == []


@pytest.mark.parametrize(
    ("name", "said"), [("gapless.x.y", "the copy ***"), ("other.lib", "other.lib: the copy ***")]
)
def test_a_log_line_says_when(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other line of stderr that goes into a file, and of us without a module's name."""
    learn(monkeypatch, GAPLESS_HASH_KEY=AWS)
    record = logging.LogRecord(name, logging.WARNING, "", 0, "the copy %s", (AWS,), None)
    record.created = 1772438400.5
    assert redaction.Redacting(None).format(record) == f"2026-03-02T08:00:00Z WARNING {said}"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert redaction.Redacting(None).format(record) == f"WARNING {said}"
