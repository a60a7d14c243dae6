// Tells headcount of every user that Better Auth creates, changes or deletes. Copy this file; it imports nothing.
//
//   import { emitter } from "./emitter";
//
//   export const auth = betterAuth({
//     ...emitter({
//       url: "https://headcount.example.com/webhooks/better-auth",
//       secret: process.env.BETTER_AUTH_WEBHOOK_SECRET!,
//     }),
//   });
//
// A hook that throws or waits does harm in Better Auth: a sign-up is answered 500 although the user is there, and a person
// who was banned stays signed in. So nothing here throws into a hook, and no hook waits for the network. What is lost on
// the way (a process that ends, a queue that is full) is found by headcount's next resync, or by its outbox.

/** Better Auth's own columns and those of its plugins that say who somebody is. Others leave the application by name only:
 * a row holds columns that Better Auth itself never shows. */
export const COLUMNS: readonly string[] = [
  "id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt", "username", "displayUsername", "phoneNumber",
  "phoneNumberVerified", "role", "banned", "banExpires", "isAnonymous",
];

export interface EmitterOptions {
  /** Where headcount takes deliveries: `https://…/webhooks/better-auth`. */
  url: string;
  /** `BETTER_AUTH_WEBHOOK_SECRET`: base64, with or without `whsec_` before it. */
  secret: string;
  /** The columns that are sent. `id`, `createdAt` and `updatedAt` always are. */
  columns?: readonly string[];
  /** Of a serverless platform: keeps the function alive until the promise is settled. */
  waitUntil?: (promise: Promise<unknown>) => void;
  /** Deliveries that may be under way at once; one more is dropped. 1,000 where it is not set. */
  queueMax?: number;
  /** Told of what was given up, never of whom. A line of `console.warn` where it is not set. */
  onDropped?: (reason: string) => void;
}

type Row = Record<string, unknown>;
type Hook = { after: (row: unknown) => Promise<void> };

export interface DatabaseHooks {
  databaseHooks: { user: { create: Hook; update: Hook; delete: Hook } };
}

const ALWAYS = ["id", "createdAt", "updatedAt"];
const QUEUE_MAX = 1_000;
const CONNECTIONS_MAX = 8;
const TIMEOUT_MS = 10_000;
/** Waits before the second, third, … attempt. */
const RETRY_AFTER_MS = [500, 2_000, 10_000, 30_000];

export function emitter(options: EmitterOptions): DatabaseHooks {
  const { url, waitUntil, queueMax = QUEUE_MAX } = options;
  if (!url || !options.secret) throw new Error("emitter: url and secret are needed");
  const columns = new Set([...(options.columns ?? COLUMNS), ...ALWAYS]);
  const key = keyOf(options.secret);
  // Nobody awaits it before the first delivery.
  key.catch(() => {});
  const dropped = (reason: string): void => {
    try {
      (options.onDropped ?? ((why: string) => console.warn(`headcount emitter: ${why}`)))(reason);
    } catch {
      // Whoever is told has failed; there is nobody else to tell.
    }
  };
  const slots = new Slots(CONNECTIONS_MAX);
  let underWay = 0;

  const emit = (type: string, row: unknown): void => {
    try {
      // An update that met no row has null, and one of many rows their number.
      if (typeof row !== "object" || row === null || (row as Row).id == null) return;
      if (underWay >= queueMax) return dropped(`${queueMax} deliveries are under way; one was dropped`);
      const data: Row = {};
      for (const column of columns) if ((row as Row)[column] !== undefined) data[column] = (row as Row)[column];
      data.id = String(data.id);
      const body = JSON.stringify({ type, timestamp: new Date().toISOString(), data });
      underWay += 1;
      const sent = deliver(url, key, body, slots)
        .then((problem) => problem && dropped(problem))
        .catch((error: unknown) => dropped(String(error)))
        .finally(() => (underWay -= 1));
      waitUntil?.(sent);
    } catch (error) {
      dropped(String(error));
    }
  };
  const hook = (type: string): Hook => ({
    after: async (row) => emit(type, row),
  });
  return {
    databaseHooks: {
      user: { create: hook("user.created"), update: hook("user.updated"), delete: hook("user.deleted") },
    },
  };
}

/** Sends until it is taken; what has become of it where it was given up. */
async function deliver(url: string, key: Promise<CryptoKey>, body: string, slots: Slots): Promise<string | undefined> {
  const id = `msg_${crypto.randomUUID()}`;
  let problem = "";
  for (let attempt = 0; attempt <= RETRY_AFTER_MS.length; attempt += 1) {
    if (attempt > 0) await sleep(RETRY_AFTER_MS[attempt - 1]!);
    await slots.take();
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...(await signed(await key, id, body)) },
        body,
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.arrayBuffer();
      if (response.ok) return undefined;
      problem = `headcount answered ${response.status}; one delivery was given up`;
      // It will say the same next time.
      if (response.status < 500 && response.status !== 429 && response.status !== 408) return problem;
    } catch (error) {
      problem = `headcount cannot be reached (${error instanceof Error ? error.name : "error"}); one delivery was given up`;
    } finally {
      slots.free();
    }
  }
  return problem;
}

/** The headers of Standard Webhooks, as of now. */
async function signed(key: CryptoKey, id: string, body: string): Promise<Record<string, string>> {
  const seconds = Math.floor(Date.now() / 1000).toString();
  const bytes = new TextEncoder().encode(`${id}.${seconds}.${body}`);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes));
  const signature = btoa(String.fromCharCode(...mac));
  return { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": `v1,${signature}` };
}

async function keyOf(secret: string): Promise<CryptoKey> {
  const text = atob(secret.trim().replace(/^whsec_/, ""));
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** So many at once; the others wait in their order. */
class Slots {
  private left: number;
  private waiting: (() => void)[] = [];

  constructor(count: number) {
    this.left = count;
  }

  async take(): Promise<void> {
    if (this.left > 0) {
      this.left -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  free(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.left += 1;
  }
}
