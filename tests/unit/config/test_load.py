# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import logging
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from verl.config.keys import list_sections, read
from verl.config.load import KEYS, help_text, load, to_yaml
from verl.config.trainer import Config
from verl.errors import ConfigError


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "run.yaml").write_text(text)
    return f"config={tmp_path / 'run.yaml'}"


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(argv)
    return str(error.value)


def test_nothing_given_is_all_defaults():
    assert load([]) == Config()


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = write(tmp_path, "worker: {rollout: {n: 4, seed: 7}}\n")
    config = load(["worker.rollout.n=8", file, "trainer.total_epochs=1", "trainer.total_epochs=2"])
    assert (config.worker.rollout.n, config.worker.rollout.seed, config.trainer.total_epochs) == (8, 7, 2)
    assert config.worker.rollout.temperature == Config().worker.rollout.temperature


def test_values_have_the_declared_types():
    config = load(["data.video_fps=1", "worker.actor.optim.lr=1e-6", "worker.actor.optim.betas=[0.5,0.6]"])
    assert isinstance(config.data.video_fps, float)
    assert config.worker.actor.optim.lr == 1e-6
    assert config.worker.actor.optim.betas == (0.5, 0.6)


def test_a_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        load([]).data.seed = 2  # type: ignore[misc]


def test_a_lone_string_is_a_list_of_one():
    config = load(["trainer.logger=console", "data.train_files=rows.json@train"])
    assert config.trainer.logger == ("console",)
    assert config.data.train_files == ("rows.json@train",)


def test_free_mappings_are_merged_key_by_key(tmp_path):
    file = write(tmp_path, "worker: {rollout: {val_override_config: {n: 1, top_p: 0.9}}}\n")
    config = load([file, "worker.rollout.val_override_config.top_p=0.8"])
    assert config.worker.rollout.val_override_config == {"n": 1, "top_p": 0.8}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("data.rollout_batchsize=3", "data.rollout_batch_size"),
        ("rollout.n=2", "worker.rollout"),
        ("worker.rollout.temprature=2", "worker.rollout.temperature"),
        ("data.use_preprocesed_videos=true", "data.use_preprocessed_videos"),
    ],
)
def test_an_unknown_key_answers_with_the_nearest_one(written: str, meant: str):
    message = refusal(written)
    assert message.startswith(f"unknown key {written.split('=')[0].removesuffix('.n')} on the command line")
    assert message.endswith(f"did you mean {meant!r}?")


def test_every_unknown_key_is_named_at_once_and_with_its_origin(tmp_path):
    file = write(tmp_path, "data: {sed: 1}\nworkers: {}\n")
    message = refusal(file, "trainer.epochs=1")
    assert len(message.splitlines()) == 3
    assert "data.sed in " in message and "run.yaml" in message and "trainer.epochs on the command line" in message


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("worker.rollout.n=x", "worker.rollout.n='x' on the command line: expected int"),
        ("worker.rollout.n=1.5", "worker.rollout.n=1.5 on the command line: expected int"),
        ("worker.rollout.n=null", "worker.rollout.n=None on the command line: expected int"),
        ("worker.rollout.n=true", "worker.rollout.n=True on the command line: expected int"),
        ("data.video_fps=fast", "data.video_fps='fast' on the command line: expected float"),
        ("data.shuffle=maybe", "data.shuffle='maybe' on the command line: expected bool"),
        ("trainer.max_steps=few", "trainer.max_steps='few' on the command line: expected int | null"),
        (
            "trainer.device=tpu",
            "trainer.device='tpu' on the command line: expected auto | cpu | cuda",
        ),
        (
            "worker.actor.optim.betas=[0.9]",
            "worker.actor.optim.betas=[0.9] on the command line: expected list of 2 float",
        ),
        (
            "worker.actor.model.override_config=3",
            "worker.actor.model.override_config=3 on the command line: expected mapping",
        ),
        (
            "worker.rollout=3",
            "worker.rollout=3 on the command line: worker.rollout is a section; set the keys in it",
        ),
    ],
)
def test_a_wrong_type_names_key_value_origin_and_type(written: str, expected: str):
    assert refusal(written) == expected


def test_every_wrong_type_is_named_at_once_and_with_its_origin(tmp_path):
    message = refusal(write(tmp_path, "data: {seed: x}\n"), "trainer.nnodes=y")
    assert "run.yaml: expected int" in message and "on the command line: expected int" in message


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("--worker.rollout.n=2", "without dashes"),
        ("train", "write key=value"),
        ("config=nowhere.yaml", "no such file"),
        ("data.format_prompt=", "write data.format_prompt=null for none"),
        ("trainer.experiment_name={", "cannot read"),
        ("trainer.experiment_name=???", "still to be filled in"),
        ("trainer.experiment_name=${trainer.nothing}", "cannot resolve"),
    ],
)
def test_a_malformed_argument_says_what_to_write(argument: str, part: str):
    assert part in refusal(argument)


@pytest.mark.parametrize("word", ["no", "0012", "2026_01", "1e3", "on", "2026-01-02"])
def test_text_is_taken_as_written(word: str):
    assert load([f"trainer.experiment_name={word}"]).trainer.experiment_name == word


@pytest.mark.parametrize("word", ["0012", "2026_01_02", "1e3", "0.5_2", "0x1F", "12:30:45"])
def test_text_in_a_file_is_taken_as_written(tmp_path, word: str):
    text = f"trainer:\n  experiment_name: {word}\nalgorithm.rollout_correction.rollout_is_threshold: {word}\n"
    config = load([write(tmp_path, text)])
    assert config.trainer.experiment_name == config.algorithm.rollout_correction.rollout_is_threshold == word
    assert load([write(tmp_path, to_yaml(config))]) == config


def test_null_is_null_and_quotes_are_taken_off():
    assert load(["data.image_dir=null"]).data.image_dir is None
    assert load(["data.image_dir='null'"]).data.image_dir == "null"


def test_a_bare_yes_where_a_file_should_have_text_is_not_turned_into_true(tmp_path):
    assert "expected str; quote the word" in refusal(write(tmp_path, "trainer: {experiment_name: yes}\n"))


def test_two_files_are_one_too_many():
    assert "given 2 times" in refusal("config=a", "config=b")


@pytest.mark.parametrize("text", ["- a\n- b\n", "data: {seed: 1\n", "data: {seed: 1, seed: 2}\n", "just words\n"])
def test_a_file_that_is_no_mapping_of_sections_is_refused(tmp_path, text: str):
    assert "run.yaml" in refusal(write(tmp_path, text))


def test_an_empty_file_and_empty_sections_change_nothing(tmp_path):
    assert load([write(tmp_path, "")]) == Config()
    assert load([write(tmp_path, "data:\nworker:\n  actor:\n")]) == Config()


def test_a_value_may_refer_to_another():
    config = load(["data.max_prompt_length=77", "worker.rollout.max_model_len=${data.max_prompt_length}"])
    assert config.worker.rollout.max_model_len == 77


def test_the_printed_configuration_loads_back_to_an_equal_one(tmp_path):
    config = load(
        [
            "data.train_files=[a.json,b.parquet]",
            "worker.actor.optim.betas=[0.8,0.9]",
            "worker.rollout.val_override_config={n: 1, top_k: 20}",
            "trainer.experiment_name=run-1",
        ]
    )
    assert load([write(tmp_path, to_yaml(config))]) == config


@pytest.mark.parametrize(("written", "stored"), [("bfloat16", "bf16"), ("float32", "fp32"), ("fp16", "fp16")])
def test_types_may_be_written_as_torch_does(written: str, stored: str):
    assert load([f"worker.actor.fsdp.torch_dtype={written}"]).worker.actor.fsdp.torch_dtype == stored
    assert load([f"worker.rollout.dtype={written}"]).worker.rollout.dtype == stored


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (["data.use_preprocessed_videos=true"], "prefer_preprocessed"),
        (["data.use_preprocessed_videos=false"], "realtime_only"),
        (
            ["data.use_preprocessed_videos=false", "data.video_source_mode=preprocessed_only"],
            "preprocessed_only",
        ),
        (["data.use_preprocessed_videos=false", "data.video_source_mode=null"], "realtime_only"),
        (["data.video_source_mode=null"], "prefer_preprocessed"),
    ],
)
def test_the_old_switch_chooses_a_mode_only_where_none_is_named(arguments: list[str], mode: str, caplog):
    with caplog.at_level(logging.WARNING):
        assert load(arguments).data.video_source_mode == mode
    warned = [record for record in caplog.records if "deprecated" in record.getMessage()]
    assert len(warned) == any("use_preprocessed" in argument for argument in arguments)


def test_the_old_switch_takes_booleans_only():
    assert "expected prefer_preprocessed" in refusal("data.use_preprocessed_videos=sometimes")


def test_the_help_shows_every_key_with_its_default_and_meaning():
    text = help_text()
    for key in KEYS.values():
        assert f"  {key.path}=" in text
        assert key.meaning.split(";")[0][:60] in " ".join(text.split())
    assert "no effect: " in text and "only vllm: " in text


def test_every_key_has_a_meaning_and_every_section_a_docstring():
    assert all(len(key.meaning) > 8 for key in KEYS.values())
    for path in list_sections(Config):
        assert type(read(Config(), path)).__doc__


def test_the_configuration_needs_no_heavy_library():
    code = (
        "import sys; from verl.config import load, checks, plan, compat, support; load.help_text()\n"
        "heavy = {'torch', 'transformers', 'ray', 'vllm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_derived_values_are_replaced_not_written():
    config = load([])
    other = replace(config, trainer=replace(config.trainer, nnodes=2))
    assert (config.trainer.nnodes, other.trainer.nnodes) == (1, 2)
