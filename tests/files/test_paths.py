"""A leading ~ is the user's home in every path that a user writes."""

import pytest
import tiny_job

from pretrain_jax import command, main
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import paths


def test_the_home_of_a_user_and_what_has_none(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.expand_user("~/runs", "--workdir") == f"{tmp_path}/runs"
    for same in ("gs://bucket/~x", "runs/~", "", "./~"):
        assert paths.expand_user(same, "--workdir") == same
    with pytest.raises(ConfigError, match=r"--workdir must be a path; ~nobody-at-all"):
        command.parse(["--workdir=~nobody-at-all/x"], {"workdir": ""}, takes_config=False)


def test_every_path_of_a_run_may_begin_with_it(monkeypatch, tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    tiny_job.write(home)
    run = ["--config=~/tiny.py", "--config.data.source=text:~/corpus.jsonl"]
    run += ["--config.data.cache_dir=~/cache", "--config.train.steps=1"]
    assert main.main([*run, "--workdir=~/one"]) == 0
    assert main.main([*run, "--workdir=~/one", "--config.train.steps=2"]) == 0
    more = ["--config.init_from=~/one", "--config.tokenizer.path=~/one/tokenizer"]
    assert main.main([*run, *more, "--workdir=~/two"]) == 0
    assert not list(elsewhere.iterdir())
    assert {"one", "two", "cache"} <= {path.name for path in home.iterdir()}
