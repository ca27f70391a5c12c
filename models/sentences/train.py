"""Trains a small sentence embedding on the documentation inside six Python libraries, and its tokeniser.

Writes, beside this file: sentences.onnx, tokenizer.json, calibration.bin, heldout.json, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/sentences/train.py
Neither the tests nor the program run Python.
"""

import ast
import importlib.metadata
import importlib.util
import json
import platform
import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn

SEED = 20260101
# All under the three-clause BSD licence.
LIBRARIES = ["networkx", "numpy", "scipy", "sklearn", "sympy", "torch"]
VOCABULARY = 3000
WIDTH = 48
TOKENS = 64
EPOCHS = 12
BATCH = 256
HELD_OUT = 500
HERE = Path(__file__).parent


def texts() -> list[tuple[str, str]]:
    """Pairs of a docstring's first sentence and the paragraph that follows it."""
    pairs = {}
    for library in LIBRARIES:
        root = Path(importlib.util.find_spec(library).origin).parent
        for file in sorted(root.rglob("*.py")):
            if "test" in str(file.relative_to(root)):
                continue
            try:
                tree = ast.parse(file.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue
            for node in ast.walk(tree):
                if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                    continue
                parts = [" ".join(each.split()) for each in re.split(r"\n\s*\n", ast.get_docstring(node) or "")]
                plain = [each for each in parts if re.match(r"^[A-Z][\w\s,'`.()/-]{20,}", each) and "---" not in each and ">>>" not in each]
                if len(plain) >= 2 and len(plain[0]) < 200:
                    pairs.setdefault(plain[0], plain[1][:300])
    return list(pairs.items())


def tokeniser(corpus: list[str]) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=["[PAD]", "[UNK]"], show_progress=False))
    return made


class Sentences(nn.Module):
    """ids [N, 64], 0 where there is no token -> [N, 48], not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[0] = 0
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(self.embedding(ids).sum(1))
        return pooled + torch.tanh(self.linear(pooled))


def strip(target: Path) -> onnx.ModelProto:
    """Removes the exporter's notes (stack traces with local paths); the graph stays as the exporter wrote it."""
    model = onnx.load(str(target))
    del model.metadata_props[:]
    model.ClearField("doc_string")
    graph = model.graph
    del graph.metadata_props[:]
    graph.ClearField("doc_string")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    target.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(target), full_check=True)
    return model


def recalls(queries: np.ndarray, answers: np.ndarray) -> dict:
    scores = queries @ answers.T
    ranks = (scores > np.diag(scores)[:, None]).sum(1)
    return {
        "first": int((ranks == 0).sum()),
        "among_ten": int((ranks < 10).sum()),
        "mean_reciprocal_rank": round(float((1 / (1 + ranks)).mean()), 4),
    }


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    random = np.random.RandomState(SEED)
    pairs = texts()
    random.shuffle(pairs)
    held, train = pairs[:HELD_OUT], pairs[HELD_OUT:]
    tokens = tokeniser([text for pair in train for text in pair])
    tokens.save(str(HERE / "tokenizer.json"))

    def ids(batch: list[str]) -> torch.Tensor:
        out = np.zeros((len(batch), TOKENS), dtype=np.int64)
        for row, each in zip(out, tokens.encode_batch(batch)):
            row[: min(TOKENS, len(each.ids))] = each.ids[:TOKENS]
        return torch.from_numpy(out)

    left, right = (ids([pair[side] for pair in train]) for side in (0, 1))
    model = Sentences()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=EPOCHS * (len(train) // BATCH))
    for epoch in range(EPOCHS):
        total = 0.0
        order = torch.from_numpy(random.permutation(len(train)))
        for at in range(0, len(train) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            # A word in six is left out, so that no single one decides.
            drop = lambda each: each * (torch.rand(each.shape) > 1 / 6)
            a, b = (nn.functional.normalize(model(drop(side[chosen]))) for side in (left, right))
            scores = a @ b.T / 0.07
            target = torch.arange(BATCH)
            loss = (nn.functional.cross_entropy(scores, target) + nn.functional.cross_entropy(scores.T, target)) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(epoch, total / (len(train) // BATCH), flush=True)
    model.eval()

    target = HERE / "sentences.onnx"
    torch.onnx.export(
        model, (torch.zeros(1, TOKENS, dtype=torch.int64),), str(target), input_names=["ids"],
        output_names=["vector"], opset_version=18, dynamo=True, external_data=False,
    )  # fmt: skip
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])

    def embed(batch: list[str]) -> np.ndarray:
        return unit(np.concatenate([session.run(None, {"ids": row[None].numpy()})[0] for row in ids(batch)]))

    vectors = TfidfVectorizer().fit([text for pair in train for text in pair])
    baseline = recalls(*(vectors.transform([pair[side] for pair in held]).toarray() for side in (0, 1)))
    measured = recalls(embed([q for q, _ in held]), embed([a for _, a in held]))
    examples = [text for pair in held[:8] for text in pair] + ["naïve façade — “x² ≥ π/2”", "  two   spaces\tand\n\nlines ", "日本語", "snake_case(a, b=3.5)"]
    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "tokens": [{"text": text, "ids": tokens.encode(text).ids} for text in examples],
                "pairs": held[:100],
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )
    chosen = random.choice(len(train), 64, replace=False)
    (HERE / "calibration.bin").write_bytes(ids([train[i][i % 2] for i in chosen]).numpy().astype("<f4").tobytes())
    numbers = {
        "seed": SEED,
        "libraries": {name: importlib.metadata.version("scikit-learn" if name == "sklearn" else name) for name in LIBRARIES},
        "pairs": len(train),
        "heldout_pairs": len(held),
        "parameters": sum(each.numel() for each in model.parameters()),
        "epochs": EPOCHS,
        "retrieval": measured,
        "retrieval_tf_idf": baseline,
        "ops": dict(sorted(Counter(node.op_type for node in graph.node).items())),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "tokenizers": importlib.metadata.version("tokenizers"),
        "numpy": np.__version__,
    }
    (HERE / "training.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
