// How the accounts of a realm get their tokens, as far as its configuration
// says.

export type Way = 'person' | 'server' | 'none';

interface Recipe {
  url?: string;
}

export interface Config {
  preset?: string;
  authorize?: Recipe;
  unattended?: boolean;
  grant?: { name?: string; authorize_url?: string };
}

// wayOf reports how somebody logs in: a person opens a link, the server logs in
// by itself, or nobody has to. What the realm does not say itself, its preset
// says.
export function wayOf(config: Config | undefined, preset: Config | undefined): Way {
  const own = authorizes(config);
  const unattended = config?.unattended ?? preset?.unattended ?? false;
  // A realm that has a grant of its own does not have its preset's recipe.
  if (!own && !authorizes(preset)) return 'none';
  return unattended ? 'server' : 'person';
}

function authorizes(config: Config | undefined): boolean {
  return Boolean(config?.authorize?.url) || config?.grant?.name === 'authorization_code' || Boolean(config?.grant?.authorize_url);
}
