/** The page's end of the line to the worker. */

import { RidError } from "../core/errors.ts";
import type { Operation, Operations, Reply, Request } from "../protocol.ts";

/** The work was given up because a newer photo came. */
export class Superseded extends Error {}

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly stage: (text: string) => void;
}

/** Asks the worker, one promise a request. */
export class Client {
  private readonly worker = new Worker(new URL("../worker/worker.ts", import.meta.url), {
    type: "module",
  });
  private readonly pending = new Map<number, Pending>();
  private last = 0;

  constructor() {
    this.worker.onmessage = (event: MessageEvent<Reply>) => this.receive(event.data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.pending.values()) {
        reject(new RidError("The page’s worker stopped, perhaps for lack of memory. Reload."));
      }
      this.pending.clear();
    };
  }

  /**
   * Ask for one operation.
   *
   * @param stage called with what is being done, in words.
   * @throws RidError something to tell the person.
   * @throws Superseded a newer photo came.
   */
  ask<K extends Operation>(
    op: K,
    ask: Operations[K]["ask"],
    stage: (text: string) => void = () => {},
  ): Promise<Operations[K]["answer"]> {
    const id = ++this.last;
    return new Promise<Operations[K]["answer"]>((resolve, reject) => {
      this.pending.set(id, { resolve, reject, stage });
      this.worker.postMessage({ id, op, ask } as Request);
    });
  }

  private receive(reply: Reply): void {
    const pending = this.pending.get(reply.id);
    if (!pending) return;
    if (reply.kind === "stage") {
      pending.stage(reply.stage);
      return;
    }
    this.pending.delete(reply.id);
    if (reply.kind === "answer") pending.resolve(reply.answer as never);
    else if (reply.cause === "words") pending.reject(new RidError(reply.message));
    else if (reply.cause === "superseded") pending.reject(new Superseded());
    else pending.reject(new Error(reply.message));
  }
}
