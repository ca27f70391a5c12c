"""OpenAI's own client against a gateway: `python client.py BASE_URL PAIRS.json`. Prints what it saw; exits 1 when something is wrong."""
import json
import math
import sys
from importlib.metadata import version

import openai

url, given = sys.argv[1], json.load(open(sys.argv[2]))
pairs, tokens = given["pairs"], given["tokens"]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=120)
failures = 0


def check(what, ok, seen=""):
    global failures
    failures += 0 if ok else 1
    print(f"{'ok  ' if ok else 'FAIL'} {what} {seen}", flush=True)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


print("openai", version("openai"))
check("models", [model.id for model in client.models.list()] == ["sentences"])
queries, answers = [query for query, _ in pairs], [answer for _, answer in pairs]
# The package asks for base64 unless it is told otherwise.
reply = client.embeddings.create(model="sentences", input=queries)
left = [each.embedding for each in reply.data]
check("one vector an input, in order", [each.index for each in reply.data] == list(range(len(queries))))
check("length 1", all(abs(dot(each, each) - 1) < 1e-4 for each in left), len(left[0]))
check("usage", reply.usage.prompt_tokens > len(queries) and reply.usage.total_tokens == reply.usage.prompt_tokens, reply.usage)
right = [each.embedding for each in client.embeddings.create(model="sentences", input=answers, encoding_format="float").data]
first = sum(max(range(len(right)), key=lambda j: dot(query, right[j])) == i for i, query in enumerate(left))
check("sentences find their paragraphs", first >= len(pairs) // 2, f"{first} of {len(pairs)}")
same = client.embeddings.create(model="sentences", input=queries[0], encoding_format="float").data[0].embedding
check("float and base64 are the same", all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(same, left[0])))
small = client.embeddings.create(model="sentences", input=queries[0], dimensions=8).data[0].embedding
check("dimensions", len(small) == 8 and abs(dot(small, small) - 1) < 1e-4)
by_ids = client.embeddings.create(model="sentences", input=[each["ids"] for each in tokens]).data
by_text = client.embeddings.create(model="sentences", input=[each["text"] for each in tokens]).data
agree = [dot(a.embedding, b.embedding) for a, b in zip(by_ids, by_text)]
check("token lists are their texts", len(agree) == len(tokens) == 2 and all(each > 0.9999 for each in agree), agree)
raw = client.embeddings.with_raw_response.create(model="sentences", input=queries[0])
check("receipt and price in the headers", "-" in raw.headers["sinter-receipt"] and int(raw.headers["sinter-price"]) > 0)
for what, options, kind in (
    ("unknown model", {"model": "none", "input": "x"}, openai.NotFoundError),
    ("empty input", {"model": "sentences", "input": ""}, openai.BadRequestError),
    ("too long", {"model": "sentences", "input": "word " * 200}, openai.BadRequestError),
    ("too many dimensions", {"model": "sentences", "input": "x", "dimensions": 4096}, openai.BadRequestError),
):
    try:
        client.embeddings.create(**options)
        check(what, False, "no error")
    except openai.APIStatusError as error:
        check(what, type(error) is kind and error.body["message"], f"{error.status_code}: {error.code}: {error.body['message']}")
print(f"{failures} failed")
sys.exit(1 if failures else 0)
