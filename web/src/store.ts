// What one tab keeps over a reload: which kernels were open, with their sessions, code and running cell. It is taken
// out when it is read, so that a duplicated tab never has the same session as the one it was copied from.

import type { Saved } from "./console.ts";
import { uuid } from "./ids.ts";
import { asObject } from "./rich.ts";

export interface Kept {
  selected?: string;
  consoles: Record<string, Saved>;
}

const KEY = "cellblock";

export class Store {
  constructor(private readonly storage: Storage) {}

  /** fresh is what a new console with code in its cell starts from. */
  static fresh(code: string): Saved {
    return { session: uuid(), code };
  }

  put(kept: Kept): void {
    try {
      this.storage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // The tab's storage is full or forbidden: a reload then starts empty.
    }
  }

  /** take reads what was kept and removes it. */
  take(): Kept {
    try {
      const kept = asObject(JSON.parse(this.storage.getItem(KEY) ?? "{}"));
      this.storage.removeItem(KEY);
      return { selected: typeof kept.selected === "string" ? kept.selected : undefined, consoles: asObject(kept.consoles) as Record<string, Saved> };
    } catch {
      return { consoles: {} };
    }
  }

  clear(): void {
    this.put({ consoles: {} });
  }
}
