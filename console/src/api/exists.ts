import { getJSON, type Page } from './client';
import { ApiError } from './error';
import { type Query, withQuery } from './path';

const pageSize = 100;

// exists reports whether a list has what isIt accepts. POST creates or updates:
// something new must not replace what has the same id. The list is searched,
// because an answer of 404 would be an error in the browser's console each time
// that everything is well. The API finds all that contain the keyword, so that
// the one may be on a later page.
export async function exists<T>(path: string, query: Query & { keyword: string }, isIt: (item: T) => boolean): Promise<boolean> {
  for (let page = 1; ; page++) {
    const { list, total } = (await getJSON<Page<T>>(withQuery(path, { ...query, page, pageSize }))).data;
    if (list.some(isIt)) return true;
    if (list.length === 0 || page * pageSize >= total) return false;
  }
}

// taken is the refusal of an id that is taken.
export const taken = (field: string, detail: string) => new ApiError(409, { status: 409, code: 'conflict', field, detail });
