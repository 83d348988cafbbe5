// A server for `npm run browser`: the built page, with the headers of
// `token_console`, and an API whose answers are made from openapi.json. It
// listens on 127.0.0.1 only, and asks nobody for anything.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fixtures } from './fixtures.mjs';

const here = import.meta.dirname;
const description = JSON.parse(readFileSync(join(here, '../../internal/adminapi/openapi.json'), 'utf8'));

// The same as in internal/console.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// example makes a value that a schema allows, with all optional properties.
function example(schema, name = 'value', depth = 0) {
  if (schema.$ref) {
    return example(description.components.schemas[schema.$ref.split('/').pop()], name, depth + 1);
  }
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.examples) return schema.examples[0];
  if (schema.oneOf) return example(schema.oneOf[0], name, depth);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case 'object': {
      const value = {};
      for (const [property, inner] of Object.entries(schema.properties ?? {})) {
        if (depth < 8 || schema.required?.includes(property)) {
          value[property] = example(inner, property, depth + 1);
        }
      }
      if (schema.additionalProperties?.type) value.field = example(schema.additionalProperties, 'field', depth + 1);
      return value;
    }
    case 'array':
      return depth > 8 ? [] : [example(schema.items, name.replace(/s$/, ''), depth + 1)];
    case 'integer':
    case 'number':
      return Math.max(schema.minimum ?? 3, 3);
    case 'boolean':
      return false;
    default:
      // Times of the audit are described in words.
      return schema.format === 'date-time' || schema.description?.startsWith('RFC 3339') ? new Date(Date.now() - 3_600_000).toISOString() : name;
  }
}

// operation finds the route of openapi.json for a path.
function operation(method, path) {
  for (const [pattern, methods] of Object.entries(description.paths)) {
    const expression = new RegExp(`^${pattern.replace(/{[^}]+}/g, '[^/]+')}$`);
    if (methods[method] && expression.test(path)) return methods[method];
  }
  return undefined;
}

function answer(request, response, url) {
  const name = `${request.method} ${url.pathname}`;
  const json = (status, value) => {
    response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' });
    response.end(JSON.stringify(value));
  };
  if (!request.headers['x-tokens-csrf']) {
    return json(403, { title: 'Forbidden', status: 403, code: 'forbidden', detail: 'X-Tokens-CSRF is missing', message: '' });
  }
  if (url.pathname === '/api/watch') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('event: ready\n\n');
    return undefined;
  }
  const fixture = fixtures[name];
  if (fixture) {
    const { status = 200, body } = fixture(url.searchParams, request);
    return json(status, body);
  }
  const found = operation(request.method.toLowerCase(), url.pathname);
  const ok = found?.responses['200']?.content?.['application/json'];
  if (!ok) {
    return json(404, { title: 'Not Found', status: 404, code: 'not_found', detail: `no route ${name}`, message: '' });
  }
  return json(200, example(ok.schema));
}

export function serve() {
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (url.pathname !== '/' && !url.pathname.startsWith('/assets/')) {
      request.resume();
      return answer(request, response, url);
    }
    const path = normalize(url.pathname === '/' ? '/index.html' : url.pathname);
    try {
      const data = readFileSync(join(here, '../build', path));
      response.writeHead(200, {
        'Content-Type': types[extname(path)] ?? 'application/octet-stream',
        'Content-Security-Policy': policy,
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
      });
      return response.end(data);
    } catch {
      response.writeHead(404);
      return response.end();
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
