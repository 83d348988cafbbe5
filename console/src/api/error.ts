import type { components } from './schema';

export type Problem = components['schemas']['Problem'];

// ApiError is a problem document (RFC 9457) that the API answered with, or with
// the status 0: no answer at all.
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly problem: Partial<Problem>;

  constructor(status: number, problem: Partial<Problem>) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.code = problem.code ?? (status === 0 ? 'unreachable' : 'unknown');
    this.problem = problem;
  }

  get field(): string | undefined {
    return this.problem.field;
  }

  get detail(): string {
    return this.message;
  }
}

// errorOf reads the problem document of an answer. A proxy in front may have
// answered with something else; only its status is used then.
export async function errorOf(response: Response): Promise<ApiError> {
  let problem: Partial<Problem> = {};
  if (response.headers.get('Content-Type')?.includes('json')) {
    try {
      problem = (await response.json()) as Partial<Problem>;
    } catch {
      // Cut off, or no JSON.
    }
  }
  return new ApiError(response.status, problem);
}
