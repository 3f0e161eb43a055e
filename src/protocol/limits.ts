// Every bound of Cabana in one place; names of quantities end with their unit.

/** Longest session or run id. */
export const ID_MAX_CHARS = 128;
export const NAME_MAX_CHARS = 512;
/** Longest other short text of a record: source, profile, model names and the like. */
export const LABEL_MAX_CHARS = 256;
/** Names of sub-models in a session's row. */
export const SUB_MODELS_MAX = 100;
export const PATH_MAX_CHARS = 4096;
/** Longest `q` of a list query. */
export const QUERY_MAX_CHARS = 256;

/** Longest text of an error that is kept, sent or shown. */
export const ERROR_MAX_CHARS = 4096;
/** A line that an agent logs: its message, and its fields as JSON. What is beyond is cut off. */
export const LOG_MESSAGE_MAX_CHARS = 16 * 1024;
export const LOG_FIELDS_MAX_CHARS = 64 * 1024;
/** Of the host's log while stderr takes nothing: its disk is full. Lines beyond it are dropped. */
export const LOG_UNWRITTEN_MAX_BYTES = 1024 * 1024;
/** How deep objects and arrays may be nested in an entry, input, output, event or params. */
export const VALUE_MAX_DEPTH = 512;

/** A run's input, encoded. */
export const INPUT_MAX_BYTES = 4 * 1024 * 1024;
/** A run's output, encoded. */
export const OUTPUT_MAX_BYTES = 16 * 1024 * 1024;
/** One history entry, encoded. */
export const ENTRY_MAX_BYTES = 16 * 1024 * 1024;
/** One event to subscribers, encoded. */
export const EVENT_MAX_BYTES = 1024 * 1024;
/** A session's params, encoded. */
export const PARAMS_MAX_BYTES = 256 * 1024;
/** One snapshot, encoded. */
export const STATE_MAX_BYTES = 512 * 1024 * 1024;
/** An HTTP request's body: an input in JSON is larger than its encoding. */
export const HTTP_BODY_MAX_BYTES = 8 * 1024 * 1024;
/** How long a request may take to arrive, its body included: whoever sends it may have vanished without a word. */
export const REQUEST_MAX_MS = 5 * 60 * 1000;
/** How long its answer may take to be read (an event stream: SSE_STALLED_MAX_MS). Until then it is in memory. */
export const ANSWER_MAX_MS = 5 * 60 * 1000;
/** What is read of a body that is refused for its size, and for how long. */
export const REFUSED_BODY_MAX_BYTES = 64 * 1024 * 1024;
export const REFUSED_BODY_MAX_MS = 5_000;

/** Runs waiting in one session's mailbox. */
export const MAILBOX_MAX_RUNS = 1024;
/** Default of maxRunningAgents. */
export const RUNNING_DEFAULT_AGENTS = 256;
/** Default of maxIdleAgents. */
export const IDLE_DEFAULT_AGENTS = 10_000;
/** Rows of the status table: sessions in memory at once. */
export const TABLE_MAX_ROWS = 1_048_576;
export const TABLE_INITIAL_ROWS = 1024;
export const THREADS_MAX_THREADS = 128;

export const LIST_LIMIT_DEFAULT_ROWS = 500;
export const LIST_LIMIT_MAX_ROWS = 1000;
/** Rows of pages that main keeps while nothing of the list changes. */
export const LIST_KEPT_MAX_ROWS = 10_000;
export const MESSAGES_LIMIT_DEFAULT_ROWS = 100;
export const MESSAGES_LIMIT_MAX_ROWS = 1000;
/** Entries read from the store at a time: by ctx.history.entries(), and for a restore. */
export const ENTRIES_PAGE_ROWS = 256;
export const TAIL_PAGE_ROWS = 1024;
/** Bytes of entries that are read or answered at a time, one entry at least: a page may have fewer rows than asked for. */
export const ENTRIES_PAGE_MAX_BYTES = 8 * 1024 * 1024;
/** Pages of a long tail that a restore asks for ahead. */
export const TAIL_PAGES_IN_FLIGHT = 4;

/** Bytes a thread may have posted to the store and not yet seen committed. Beyond it append() throws. */
export const JOURNAL_BACKLOG_MAX_BYTES = 64 * 1024 * 1024;
/** Above this many bytes on their way, an awaited append() waits. */
export const JOURNAL_CREDIT_BYTES = 8 * 1024 * 1024;
/** What an operation weighs in that backlog beside its bodies. */
export const OP_OVERHEAD_BYTES = 128;
/** The shared memory in which a thread's appended entries go to the store. A power of two. */
export const JOURNAL_RING_BYTES = 1024 * 1024;
/** A larger entry is posted instead. */
export const JOURNAL_RING_ENTRY_MAX_BYTES = 64 * 1024;
/**
 * An idle store busy-waits this long for the next operation before it sleeps, if its last sleep was shorter than
 * STORE_LINGER_WORTH_MS.
 */
export const STORE_LINGER_MS = 0.1;
/** A sleep shorter than this means that busy-waiting would have paid off. */
export const STORE_LINGER_WORTH_MS = 0.25;
/** Operations in one transaction of the store. */
export const COMMIT_MAX_OPS = 4096;
/** By then what was committed without waiting for the disk (an epoch taken, a run begun) is on it. */
export const SYNC_WITHIN_MS = 100;
/** Bytes in the write-ahead log from which on they are brought into the database, once everybody has been told. */
export const CHECKPOINT_FROM_BYTES = 16 * 1024 * 1024;
/** The same while the host drains: what the log holds then is brought in at the next start. */
export const CHECKPOINT_DRAINING_FROM_BYTES = 1024 * 1024 * 1024;
/** What the log's file is cut to when it is written from its start again: a large transaction, or a drain, made it larger. */
export const LOG_KEPT_MAX_BYTES = 4 * CHECKPOINT_FROM_BYTES;
/** Requests of a thread to the store, and bytes in them, that travel as one message. */
export const REQUEST_BATCH_MAX_OPS = 32;
export const REQUEST_BATCH_MAX_BYTES = 256 * 1024;
/** How long the store waits before it tries again to write to a full disk. */
export const STORE_FULL_RETRY_MS = 250;

/** Events waiting for one slow subscriber; beyond it the oldest are dropped and it is told how many. */
export const SUBSCRIBER_MAX_EVENTS = 1024;
/** The same in bytes. What came last may wait whatever its size and number: the entries of one commit come at once. */
export const SUBSCRIBER_MAX_BYTES = 32 * 1024 * 1024;
/** How long an SSE client may leave everything unread before it is cut off. */
export const SSE_STALLED_MAX_MS = 60_000;
/** What is written to an SSE client at a time: it reads as long as it takes this much within that span. */
export const SSE_PIECE_MAX_BYTES = 64 * 1024;
export const SSE_HEARTBEAT_MS = 15_000;
/** How long writing to all SSE clients together may hold main's event loop per turn. */
export const SSE_TURN_MS = 5;

/** A long poll of a run. */
export const RUN_WAIT_MAX_MS = 60_000;
/** Time slice after which ctx.yield() gives the thread up. */
export const TIME_SLICE_MS = 10;
/** Events gathered in a thread before they are posted, and their bytes. */
export const EVENT_BATCH_MAX_EVENTS = 256;
export const EVENT_BATCH_MAX_BYTES = 64 * 1024;
/** The span in which a flood of events is told from a few, and how many posts of one leave at once. */
export const EVENT_BURST_MS = 5;
export const EVENT_BURST_FREE_POSTS = 8;
/**
 * Bytes of notes (events, log lines, reports) in flight from all agent threads to main, split evenly between them; and
 * the least share of one thread.
 */
export const NOTES_IN_FLIGHT_BYTES = 2 * 1024 * 1024;
export const NOTES_IN_FLIGHT_MIN_BYTES = 64 * 1024;
/** How long agent threads' messages may hold main's event loop per turn, split the same way; and the least share. */
export const MESSAGES_TURN_MS = 2;
export const MESSAGES_TURN_MIN_MS = 0.25;
/** What an event, or another note, weighs beside its bytes. */
export const NOTE_OVERHEAD_BYTES = 256;
/** How long an event waits for main to take the ones before it. Beyond it, events are counted instead of sent. */
export const EVENT_WAIT_MAX_MS = 50;
/** How often a thread looks whether there is room again for what it has to tell. */
export const NOTES_RETRY_MS = 5;

/** The longest time that an option may name. */
export const OPTION_MAX_MS = 24 * 60 * 60 * 1000;
/** Defaults of the shutdown. */
export const DRAIN_DEFAULT_MS = 5_000;
export const FLUSH_DEADLINE_DEFAULT_MS = 10_000;
/** How long a thread or the store may take to start. */
export const BOOT_DEADLINE_MS = 60_000;
/** How long a start may still take after a signal. */
export const START_AFTER_SIGNAL_MS = 5_000;
/** How long an orderly stop of one thread may take after its agents are flushed. */
export const STOP_DEADLINE_MS = 1_000;

/** Age of idleness after which a session is stale. */
export const STALE_AFTER_MS = 24 * 60 * 60 * 1000;
export const STALE_SWEEP_INTERVAL_MS = 60_000;
export const EVICT_INTERVAL_MS = 1_000;
/** Sessions that are made durable at the same time when leaving memory. */
export const PASSIVATE_IN_FLIGHT_AGENTS = 64;
/** Newest sessions of each source that are restored at start. */
export const RESTORE_DEFAULT_SESSIONS = 5;
/** And in all, if a source has no more than that. */
export const RESTORE_MAX_SESSIONS = 256;
/** How many of them come up at the same time: others must not wait behind all of them. */
export const RESTORE_IN_FLIGHT_SESSIONS = 32;
/** How often a thread shows that its event loop turns. */
export const HEARTBEAT_INTERVAL_MS = 250;
/** Inputs of waiting runs that main keeps in memory; beyond it the thread reads them from the store. */
export const QUEUED_INPUT_MAX_BYTES = 64 * 1024 * 1024;
/** How many threads a run is handed to at most, one after the other, if each dies before it begins the run. */
export const RUN_START_MAX_ATTEMPTS = 3;
/** How a thread number's next incarnation waits: not at all after freeLives short lives in a row, then doubling. */
export interface Backoff {
  /** A life that lasted so long was not short. */
  stableMs: number;
  freeLives: number;
  firstMs: number;
  maxMs: number;
}
/** A thread died of nobody's code that is known, or could not start: trying again at once would most likely do the same. */
export const REPLACE_AFTER_OWN_DEATH: Backoff = { stableMs: 10_000, freeLives: 2, firstMs: 100, maxMs: 30_000 };
/** A session took it down: its start was well, others need it, and that session is stopped by its quarantine. */
export const REPLACE_AFTER_CULPRIT: Backoff = { stableMs: 1_000, freeLives: 2, firstMs: 25, maxMs: 200 };
/** Threads that are kept ready to replace one that dies: as many as were needed within the window, within these bounds. */
export const SPARE_THREADS_MIN = 1;
export const SPARE_THREADS_MAX = 4;
export const SPARE_WINDOW_MS = 60_000;
/** When the first is made, after the host's start. */
export const SPARE_FIRST_AFTER_MS = 500;
/** How long a thread may take to end that is terminated: after that it is taken to be in a blocking call. */
export const TERMINATE_DEADLINE_MS = 10_000;
/** The same at the end of the process, of all threads together: then it is killed. */
export const EXIT_DEADLINE_MS = 1_000;
/** How long loading the agents of a spare may take. */
export const SPARE_DEADLINE_MS = 10_000;
/** Activations that wait for their threads, and are looked at to find better ones, at a time. */
export const ACTIVATIONS_WINDOW = 64;
/** Offers of runs that a thread has yet to answer, those that were taken back included: it keeps their inputs until then. */
export const OFFERS_UNANSWERED_MAX = 8;
/** From when on a run that has ignored its interrupt counts as holding its thread up. */
export const DEAF_AFTER_MS = 100;
/** Stand-in threads at most; never more than configured threads either. */
export const STAND_INS_MAX_THREADS = 4;
/** How long one may be dispensable before it ends: whoever holds a thread up may do so again. */
export const STAND_IN_KEEP_MS = 500;
/** One that could not be started is tried again after so long. */
export const STAND_IN_RETRY_MS = 1_000;
/** How often one that is to end has its sessions moved, as far as they can be by then. */
export const STAND_IN_EMPTY_INTERVAL_MS = 250;
/** How often a run that a crash of the process cut off is resumed (onInterrupted: 'resume'). */
export const RESUME_MAX_RUNS = 3;
/** How long the store may take to write what is left, at a shutdown. */
export const CLOSE_DEADLINE_MS = 30_000;
/** How often a watched session's progress is looked up for its SSE clients. */
export const PROGRESS_INTERVAL_MS = 250;
/** How long a run may ignore its interrupt before its thread is given up; default. */
export const INTERRUPT_GRACE_DEFAULT_MS = 2_000;
/** After so long without a heartbeat, when several are late, a thread's event loop does not turn. */
export const STANDSTILL_MS = 1_500;
/** How often the watchdog looks at the status table. */
export const WATCHDOG_INTERVAL_MS = 25;
/** What is more than this between two looks of the watchdog does not count: the process, or the machine, stood still. */
export const WATCHDOG_MAX_GAP_MS = 1_000;
/** How long a thread's event loop may stand still while no cpu run holds the thread. */
export const HANG_MAX_MS = 10_000;
/** How long a condemned thread's neighbours have to be up elsewhere before it is terminated. */
export const RESCUE_FIRST_MS = 50;
/** Neighbours of a condemned thread that are brought up elsewhere at the same time. */
export const RESCUE_IN_FLIGHT_AGENTS = 64;
/** A session whose runs took its thread down so often within the window is quarantined. */
export const QUARANTINE_STRIKES_COUNT = 3;
export const QUARANTINE_WINDOW_MS = 10 * 60_000;
/** Sessions whose strikes are remembered. */
export const QUARANTINE_MAX_SESSIONS = 10_000;
/** Sessions that are remembered to have taken a thread down, and to have completed a run. */
export const SUSPECTS_MAX_SESSIONS = 10_000;
export const PROVEN_MAX_SESSIONS = 10_000;
/** If this many sessions cause trouble within this time, every session without a completed run is a suspect too. */
export const ALARM_SESSIONS = 2;
export const ALARM_MS = 1_000;
/** How long after a thread was in trouble the others keep off the suspects' threads, and suspects off theirs, if they can. */
export const WARY_MS = 10_000;
/** Longest timeout of a run. */
export const RUN_TIMEOUT_MAX_MS = 7 * 24 * 60 * 60 * 1000;
/** Priorities of runs: from the negative of this to this; higher first; 0 by default. */
export const PRIORITY_MAX = 10;
/** How long the answer to an interrupt waits for the disk. */
export const INTERRUPT_ANSWER_MAX_MS = 5_000;
/** How often in a row sessions of one kind may go ahead of the others in the line for a thread. */
export const AHEAD_MAX_TIMES = 8;
/** Runs that wait or run in the whole host. */
export const RUNS_MAX_RUNS = 200_000;
/** Bytes of inputs on their way to the disk. */
export const ACCEPT_MAX_BYTES = 64 * 1024 * 1024;
/** Idleness after which an agent is compacted; default. */
export const COMPACT_AFTER_DEFAULT_MS = 180_000;
export const COMPACT_SWEEP_INTERVAL_MS = 1_000;
/** How long a compaction that had to step back is put off: doubled with each time in a row. */
export const COMPACT_RETRY_MIN_MS = 2 * COMPACT_SWEEP_INTERVAL_MS;
export const COMPACT_RETRY_MAX_MS = 10 * 60 * 1_000;
/** Share of the heap limit at which idle agents begin to leave a thread, and below which they stop leaving it. */
export const HEAP_HIGH_FRACTION = 0.75;
export const HEAP_LOW_FRACTION = 0.6;
export const HEAP_SWEEP_INTERVAL_MS = 250;
/** Sessions that are saved at the same time to leave a busy thread for a free one. */
export const EVACUATE_IN_FLIGHT_AGENTS = 8;
/** How often an asynchronous save() is taken again because the history grew meanwhile. */
export const SAVE_MAX_ATTEMPTS = 8;
/** A session that could not be saved is tried again after this long, doubling up to the maximum. */
export const SAVE_RETRY_FIRST_MS = 1_000;
export const SAVE_RETRY_MAX_MS = 5 * 60_000;
/** How long start, restore, save and stop may each take. */
export const HOOK_MAX_MS = 60_000;
