// One session of the demo as its event stream tells it: what it does now, and every entry that was seen, which by then
// is on disk.

import type { Client, Entry } from './client.js';

export class Watcher {
  readonly id: string;
  readonly profile: string;
  readonly name: string;
  /** Every entry seen so far, by seq. */
  readonly seen = new Map<number, Entry>();
  /** 0..1 of the current run. */
  progress = 0;
  /** What the agent says of its current run, or how the last one ended. */
  label = 'waits';
  running = false;
  /** Events that the agent yielded. */
  events = 0;
  #ended: Promise<void> = Promise.resolve();

  constructor(id: string, profile: string, name: string) {
    this.id = id;
    this.profile = profile;
    this.name = name;
  }

  /** Follows the session until the server closes the stream. */
  follow(client: Client): void {
    this.#ended = this.#follow(client);
  }

  /** Resolves when the stream has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  async #follow(client: Client): Promise<void> {
    try {
      for await (const event of client.events(this.id)) {
        switch (event.type) {
          case 'entry':
            this.seen.set(event.data.seq, event.data);
            break;
          case 'event':
            this.events++;
            break;
          case 'progress':
            this.progress = event.data.progress;
            this.label = event.data.label;
            break;
          case 'run':
            this.running = event.data.run.state === 'running';
            this.label = this.running ? 'starts' : event.data.run.state;
            this.progress = 0;
            break;
          case 'gap':
            // Entries that were dropped for a slow reader are sent again from the disk.
            break;
          default:
            event satisfies never;
        }
      }
    } catch {
      // The connection was cut: the server is gone, and what was seen was seen.
    }
    this.running = false;
  }
}
