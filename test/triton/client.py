"""NVIDIA's tritonclient against a gateway: `python client.py HOST:PORT IMAGES.json`. Prints what it saw; exits 1 when something is wrong."""
import json
import sys
from importlib.metadata import version

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

url, images = sys.argv[1], json.load(open(sys.argv[2]))
client = http.InferenceServerClient(url=url, concurrency=4, network_timeout=120.0)
failures = 0


def check(what, ok, seen=""):
    global failures
    failures += 0 if ok else 1
    print(f"{'ok  ' if ok else 'FAIL'} {what} {seen}", flush=True)


def infer(model, rows, binary_in=True, binary_out=True, **options):
    data = np.array(rows, dtype=np.float32).reshape(-1, 1, 8, 8)
    given = http.InferInput("image", list(data.shape), "FP32")
    given.set_data_from_numpy(data, binary_data=binary_in)
    outputs = [http.InferRequestedOutput("logits", binary_data=binary_out)]
    return client.infer(model, [given], outputs=outputs, **options)


print("tritonclient", version("tritonclient"))
check("server live", client.is_server_live())
check("server ready", client.is_server_ready())
metadata = client.get_server_metadata()
check("server metadata", "binary_tensor_data" in metadata["extensions"], metadata)
for name in ("digits", "numbers"):
    check(f"{name} ready", client.is_model_ready(name))
    model = client.get_model_metadata(name)
    check(f"{name} metadata", model["inputs"][0]["shape"] == [-1, 1, 8, 8], model["inputs"])
check("model config", client.get_model_config("digits")["max_batch_size"] > 0)
check("repository index", len(client.get_model_repository_index()) == 2)
rows, labels = images["rows"], images["labels"]
for binary_in in (True, False):
    for binary_out in (True, False):
        for name in ("digits", "numbers"):
            result = infer(name, rows[:2], binary_in, binary_out, request_id="q1")
            answer = result.as_numpy("logits").argmax(axis=1).tolist()
            kind = f"{'binary' if binary_in else 'JSON'} in, {'binary' if binary_out else 'JSON'} out"
            check(f"{name}: {kind}", answer == labels[:2], answer)
response = result.get_response()
check("receipts and price in the parameters", response["parameters"]["receipt"].count("-") == 2, response["parameters"])
data = np.array(rows[:1], dtype=np.float32).reshape(1, 1, 8, 8)
given = http.InferInput("image", [1, 1, 8, 8], "FP32")
given.set_data_from_numpy(data)
check("no outputs listed", client.infer("digits", [given]).as_numpy("logits").shape == (1, 10))
for encoding in ("gzip", "deflate"):
    answer = infer("digits", rows[:1], request_compression_algorithm=encoding).as_numpy("logits").argmax()
    check(f"{encoding} request", answer == labels[0])
requests = [client.async_infer("digits", [given]) for _ in range(8)]
check("8 requests at once", all(each.get_result().as_numpy("logits").argmax() == labels[0] for each in requests))
for what, run, words in (
    ("unknown model", lambda: infer("none", rows[:1]), "unknown model"),
    ("unknown version", lambda: infer("digits", rows[:1], model_version="9"), "version"),
    ("wrong shape", lambda: client.infer("digits", [wrong_shape()]), "shape"),
    ("wrong datatype", lambda: client.infer("digits", [wrong_type()]), "FP32"),
):
    def wrong_shape():
        bad = http.InferInput("image", [1, 64], "FP32")
        bad.set_data_from_numpy(data.reshape(1, 64))
        return bad

    def wrong_type():
        bad = http.InferInput("image", [1, 1, 8, 8], "INT32")
        bad.set_data_from_numpy(data.astype(np.int32))
        return bad

    try:
        run()
        check(what, False, "no error")
    except InferenceServerException as error:
        check(what, words in error.message(), f"{error.status()}: {error.message()}")
stats = client.get_inference_statistics("digits")["model_stats"][0]
check("statistics", stats["inference_stats"]["success"]["count"] > 0, stats["inference_count"])
client.close()
print(f"{failures} failed")
sys.exit(1 if failures else 0)
