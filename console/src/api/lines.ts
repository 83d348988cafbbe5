// linesOf yields the lines of an answer as they arrive.
export async function* linesOf(response: Response): AsyncGenerator<string> {
  if (!response.body) {
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        yield line.endsWith('\r') ? line.slice(0, -1) : line;
      }
    }
    if (rest !== '') {
      yield rest;
    }
  } finally {
    // Also when the reader of the lines stops early: the server is told.
    await reader.cancel().catch(() => undefined);
  }
}

// ndjson yields the values of an answer that has one JSON value a line.
export async function* ndjson<T>(response: Response): AsyncGenerator<T> {
  for await (const line of linesOf(response)) {
    if (line.trim() !== '') {
      yield JSON.parse(line) as T;
    }
  }
}
