// Every bound of Cabana in one place; each name ends with its unit.

/** Longest session or run id. */
export const ID_MAX_CHARS = 128;
export const NAME_MAX_CHARS = 512;
/** Longest other short text of a record: source, profile, model names and the like. */
export const LABEL_MAX_CHARS = 256;
export const PATH_MAX_CHARS = 4096;
/** Longest `q` of a list query. */
export const QUERY_MAX_CHARS = 256;

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
export const MESSAGES_LIMIT_DEFAULT_ROWS = 100;
export const MESSAGES_LIMIT_MAX_ROWS = 1000;
/** Entries read from the store at a time by ctx.history.entries(). */
export const ENTRIES_PAGE_ROWS = 256;

/** Bytes a thread may have posted to the store and not yet seen committed. Beyond it append() throws. */
export const JOURNAL_BACKLOG_MAX_BYTES = 64 * 1024 * 1024;
/** Above this many bytes on their way, an awaited append() waits. */
export const JOURNAL_CREDIT_BYTES = 8 * 1024 * 1024;
/** Operations in one transaction of the store. */
export const COMMIT_MAX_OPS = 4096;
/** Operations that wait for room on a full disk. Beyond it they are dropped and their sessions refuse to write. */
export const STALLED_MAX_OPS = 100_000;
/** How long the store waits before it tries again to write to a full disk. */
export const STORE_FULL_RETRY_MS = 250;

/** Events waiting for one slow subscriber; beyond it the oldest are dropped and it is told how many. */
export const SUBSCRIBER_MAX_EVENTS = 1024;
/** How long an SSE client may leave everything unread before it is cut off. */
export const SSE_STALLED_MAX_MS = 60_000;
export const SSE_HEARTBEAT_MS = 15_000;

/** A long poll of a run. */
export const RUN_WAIT_MAX_MS = 60_000;
/** Time slice after which ctx.yield() gives the thread up. */
export const TIME_SLICE_MS = 10;
/** Events gathered in a thread before they are posted. */
export const EVENT_BATCH_MAX_EVENTS = 64;
/** How long a thread may hold gathered events back. */
export const EVENT_BATCH_MAX_MS = 5;

/** Defaults of the shutdown. */
export const DRAIN_DEFAULT_MS = 5_000;
export const FLUSH_DEADLINE_DEFAULT_MS = 10_000;
/** How long a thread or the store may take to start. */
export const BOOT_DEADLINE_MS = 60_000;
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
/** How often a thread shows that its event loop turns. */
export const HEARTBEAT_INTERVAL_MS = 250;
/** Inputs of waiting runs that main keeps in memory; beyond it the thread reads them from the store. */
export const QUEUED_INPUT_MAX_BYTES = 64 * 1024 * 1024;
/** How often a run is handed to another thread after the one before died before it began. */
export const RUN_START_MAX_ATTEMPTS = 3;
/** Wait before a thread that could not be replaced is tried again; doubles up to the maximum. */
export const REPLACE_FIRST_MS = 100;
export const REPLACE_MAX_MS = 30_000;
/** How often a run that crashes of the process cut off is started at most (onInterrupted: 'resume'). */
export const RESUME_MAX_ATTEMPTS = 3;
/** How long the store may take to write what is left, at a shutdown. */
export const CLOSE_DEADLINE_MS = 30_000;
/** How often a watched session's progress is looked up for its SSE clients. */
export const PROGRESS_INTERVAL_MS = 250;
