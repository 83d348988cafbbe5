import { expect, test, vi } from 'vitest';
import { linesOf, ndjson } from './lines';

function inPieces(pieces: string[], cancelled = () => undefined): Response {
  const encoder = new TextEncoder();
  const bytes = pieces.map((piece) => encoder.encode(piece));
  return new Response(
    new ReadableStream<Uint8Array>({
      pull(controller) {
        const next = bytes.shift();
        if (next) {
          controller.enqueue(next);
        } else {
          controller.close();
        }
      },
      cancel: cancelled,
    }),
  );
}

test('lines are joined over the pieces that arrive', async () => {
  const lines: string[] = [];
  for await (const line of linesOf(inPieces(['a', 'b\r\nc\n\n', 'last']))) {
    lines.push(line);
  }
  expect(lines).toEqual(['ab', 'c', '', 'last']);
});

test('each value of NDJSON is given, blank lines are not', async () => {
  const values: unknown[] = [];
  for await (const value of ndjson(inPieces(['{"key":"甲"}\n', '\n{"k', 'ey":"b"}']))) {
    values.push(value);
  }
  expect(values).toEqual([{ key: '甲' }, { key: 'b' }]);
});

test('whoever stops reading ends the request', async () => {
  const cancelled = vi.fn();
  for await (const line of linesOf(inPieces(['a\n', 'b\n', 'c\n'], cancelled))) {
    expect(line).toBe('a');
    break;
  }
  expect(cancelled).toHaveBeenCalled();
});
