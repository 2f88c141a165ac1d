"""The emotion model that travels with convai: its size, its labels, and what it says of plain sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convai.__main__ import main
from convai.conversation.mood import MoodPreference, MoodReader
from convai.core import resources
from convai.emotion.checkpoint import EMBEDDED
from convai.emotion.classifier import EmotionClassifier
from convai.emotion.labels import GOEMOTIONS, TWEETEVAL_EMOJI, TWEETEVAL_EMOTION
from convai.emotion.vocabulary import UNKNOWN_ID

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN = [
    ("thank you so much for your help!", {"gratitude"}),
    ("i love you so much", {"love"}),
    ("i am so happy today, this is great", {"joy", "admiration", "excitement"}),
    ("i am so sorry, i should not have said that", {"remorse", "sadness"}),
    ("he died last week and i can't stop crying", {"sadness", "grief"}),
    ("this makes me so angry, i hate them all", {"anger", "annoyance"}),
    ("i am scared of the dark", {"fear"}),
    ("that is disgusting", {"disgust"}),
    ("haha that is so funny lol", {"amusement"}),
    ("what time is the train?", {"neutral", "curiosity"}),
    ("the train leaves at nine", {"neutral"}),
    ("why would anyone do that? i don't get it", {"confusion", "curiosity"}),
    ("good luck, i hope you feel better soon", {"optimism", "caring"}),
    ("wow, i did not expect that at all!", {"surprise"}),
]


@pytest.fixture(scope="module")
def classifier() -> EmotionClassifier:
    return EmotionClassifier.load()


def test_it_is_small_and_has_its_card() -> None:
    folder = resources.models_dir() / EMBEDDED
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 12e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("licence", "convai emotion train", "macro-F1", "GoEmotions", "TweetEval"):
        assert word in card


def test_its_labels(classifier: EmotionClassifier) -> None:
    emoji, emotions = classifier.config.head("emoji"), classifier.config.head("emotions")
    assert emoji is not None
    assert emotions is not None
    assert set(emoji.labels) == set(TWEETEVAL_EMOJI)
    assert list(emotions.labels) == list(GOEMOTIONS)
    assert len(emotions.thresholds) == len(GOEMOTIONS)
    assert [set(head.labels) for head in classifier.config.heads[2:]] == [set(TWEETEVAL_EMOTION)]


@pytest.mark.parametrize(("text", "expected"), PLAIN)
def test_plain_sentences(classifier: EmotionClassifier, text: str, expected: set[str]) -> None:
    [found] = classifier.predict([text])
    assert found.best_emotion() in expected
    assert sum(p for _, p in classifier.predict([text], None)[0].emoji) == pytest.approx(1, abs=1e-4)


def test_christmas_has_its_tree_and_america_its_flag(classifier: EmotionClassifier) -> None:
    christmas, america = classifier.predict(["merry christmas everyone", "happy 4th of july, usa!"])
    assert christmas.emoji[0][0] == "\U0001f384"
    assert america.emoji[0][0] == "\U0001f1fa\U0001f1f8"


def test_hashtags_are_read_as_their_words(classifier: EmotionClassifier) -> None:
    found, plain = classifier.predict(["#sofurious", "so furious"])
    assert found.words == plain.words == ("so", "furious")
    assert found.emotions == pytest.approx(plain.emotions)


def test_int8_sees_what_float32_sees(classifier: EmotionClassifier) -> None:
    texts = [text for text, _ in PLAIN]
    for exact, fast in zip(
        classifier.predict(texts), EmotionClassifier.load(precision="int8").predict(texts), strict=True
    ):
        assert fast.emotions == pytest.approx(exact.emotions, abs=0.06)


def test_unknown_words_and_no_words_say_little(classifier: EmotionClassifier) -> None:
    assert classifier.vocabulary.ids(["qwrtzpsdf"]) == [UNKNOWN_ID]
    for found in classifier.predict(["", "qwrtzpsdf", "\u4f60\u597d"]):
        assert found.best_emotion() == "neutral"


def test_commands_take_it_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emotion", "predict", "--json", "thank you!"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert max(found["emotions"], key=found["emotions"].__getitem__) == "gratitude"
    assert main(["emotion", "labels"]) == 0
    assert "gratitude" in capsys.readouterr().out


def test_the_chat_reads_and_prefers_with_it() -> None:
    reader = MoodReader(lambda: EmotionClassifier.load(None, "int8"))
    try:
        assert reader.of("thank you!").best_emotion() == "gratitude"
        prefer = MoodPreference(reader, "joy")
        happy, dull = prefer(["i am so happy!", "the train leaves at nine"])
        assert happy > dull
    finally:
        reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["score_texts.py", "encode_texts.py"])
def test_examples_run_with_it(script: str) -> None:
    run = [sys.executable, str(EXAMPLES / script), "i love it", "so sad today"]
    done = subprocess.run(run, capture_output=True, text=True, check=True, encoding="utf-8")
    assert len(done.stdout.splitlines()) == 2
    assert "i love it" in done.stdout


def test_encoding_gives_features_that_tell_moods_apart(classifier: EmotionClassifier) -> None:
    vectors = classifier.encode(["i love it", "this is great", "i am so sad"])
    unit = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
    assert float(unit[0] @ unit[1]) > float(unit[0] @ unit[2])
