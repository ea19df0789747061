// A failure of the place where files are kept: it ends a download that was asked for, and never a load.
import { RerankError } from '../errors.js';

const FULL = /quota|ENOSPC|EDQUOT/i;

export class StorageError extends Error {
  constructor(place, cause) {
    super(`${place}: ${cause?.message ?? cause}`, { cause });
    this.full = FULL.test(`${cause?.name} ${cause?.code}`);
  }
}

// `act`, whose failures become StorageErrors.
export async function stored(place, act) {
  try {
    return await act();
  } catch (error) {
    throw error instanceof StorageError || error instanceof RerankError ? error : new StorageError(place, error);
  }
}

export function asFailure(error) {
  if (!(error instanceof StorageError)) return error;
  const todo = error.full ? 'Free some space, or delete models that are not needed (models.usage, models.delete).' : 'Allow the storage, or load without a cache.';
  return new RerankError(error.full ? 'quota' : 'unsupported', `The model cannot be stored (${error.message}). ${todo}`, { cause: error });
}

export const warningOf = (error) =>
  `The model is not kept for later loads${error.full ? ', since the storage is full' : ''} (${error.message}).`;
