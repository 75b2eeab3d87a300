from __future__ import annotations

import base64

HOOK = "notebooks"


def notebook(*outputs):
    code = {"cell_type": "code", "source": ["a = 1\n", "a"], "outputs": list(outputs)}
    return {"cells": [{"cell_type": "markdown", "source": "# Title"}, code]}


def test_text_and_code_become_markdown(hook):
    text, pictures = hook.page_of(notebook({"output_type": "execute_result", "data": {"text/plain": "1"}}), "nb")
    assert text.startswith("# Title\n\nThis page is the notebook [nb.ipynb](nb.ipynb)")
    assert "```python\na = 1\na\n```\n\n```text\n1\n```" in text
    assert pictures == {}


def test_pictures_become_files(hook):
    output = {"data": {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<Figure>"}}
    text, pictures = hook.page_of(notebook(output, output), "nb")
    assert pictures == {"nb_1.png": b"png", "nb_2.png": b"png"}
    assert "(nb_2.png)" in text
    assert "<Figure>" not in text


def test_printed_lines_are_shown(hook):
    text, _ = hook.page_of(notebook({"output_type": "stream", "text": ["a\n", "b\n"]}), "nb")
    assert "```text\na\nb\n```" in text
