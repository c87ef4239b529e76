/** What the manager answers, as far as the console reads it (docs/api.md). */

export type Status = "IDLE" | "QUEUED" | "EXECUTED" | "WAITING" | "SUSPENDED" | "FINISHED" | "FAILED";

export interface TaskError {
  type: string;
  message: string;
  stage: number | null;
  data: unknown;
}

export interface Command {
  method: string;
  params?: Record<string, unknown>;
  max_timeout?: number;
  condition?: unknown;
  name?: string;
}

export interface ListedTask {
  id: string;
  app_name: string;
  status: Status;
  status_reason: string | null;
  enabled: boolean;
  cron: string | null;
  every: number | null;
  timezone: string | null;
  next_run: number | null;
  since: number;
  stage: number;
  stages: number;
  retries: number;
  max_retries: number;
  executor_id: string | null;
  description: string | null;
  group: string | null;
  group_id: string | null;
  error: TaskError | null;
  job_id: string | null;
  parent_id: string | null;
  user_id: string | null;
  priority: number;
  created: string;
  exit_code: number | null;
  scheduled_at: number | null;
  next_task: string | null;
  wait_deadline: number | null;
  exec_deadline: number | null;
  labels?: Record<string, string>;
  method?: string | null;
}

export interface Task extends ListedTask {
  rev: number;
  commands: Command[];
  kws: unknown;
  result: unknown[];
}

export interface Page<T> {
  data: T[];
  count: number;
  cursor: string | null;
  count_more?: boolean;
}

export interface WhyNot {
  code: string;
  message: string;
}

export interface Explanation {
  id: string;
  status: Status;
  running: boolean;
  message: string;
  reasons: WhyNot[];
}

export interface Run {
  job_id: string | null;
  status: string;
  scheduled_at: number | null;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  error: TaskError | null;
  retries: number;
  stage: number;
  stages: number;
  executor_id: string | null;
  note?: string | null;
}

export interface StageRecord {
  stage: number;
  name: string | null;
  method: string;
  cycle: number;
  attempt: number;
  executor_id: string | null;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  outcome: string;
  rescued: boolean;
  result: unknown;
  error: TaskError | null;
}

export interface SystemView {
  version: string;
  manager_id: string;
  store: string;
  now: number;
  up_since: number;
  tasks: Record<string, Partial<Record<Status, number>>>;
  executors: Record<string, number>;
  limits: Record<string, number>;
  insecure_host: boolean;
}

export interface WhoAmI {
  principal?: string | null;
  kind?: string | null;
  scope?: { streams?: string[] };
  [field: string]: unknown;
}

export interface Executor {
  id: string;
  app_names: string[];
  status: string;
  capacity: number;
  running: number;
  host: string | null;
  pid: number | null;
  version: string | null;
  connected_at: number;
  last_ping: number;
}

export interface Pause {
  id: string;
  app_name: string | null;
  group: string | null;
  group_id: string | null;
  method: string | null;
  condition?: unknown;
  reason: string;
  author: string | null;
  created: string;
  until: number | null;
  cron: string | null;
  duration: number | null;
  timezone: string | null;
  owner?: string | null;
  active: boolean;
  next_change: number | null;
}

export interface Notification {
  id: string;
  message: string;
  created: string;
  enabled: boolean;
  task_id: string;
  job_id: string | null;
  status: Status;
}

export interface AuditRecord {
  id: string;
  at: number;
  user_id: string | null;
  remote: string | null;
  action: string;
  target: string | null;
  data: unknown;
}

export interface RefusalCount {
  reason: string;
  status: Status | null;
  count: number;
  message: string;
}

export interface BulkResult {
  bulk_id: string | null;
  state: BulkState | null;
  matched: number;
  done: number;
  refused: number;
  pending: number;
  sample: string[];
  refusals: RefusalCount[];
}

export interface ListedRun extends Run {
  task_id: string;
  app_name: string;
  exit_code: number | null;
}

export interface StreamInfo {
  app_name: string;
  ready: number;
  oldest_ready: number | null;
  suspect: number;
  running: number;
  waiting: number;
  held: Record<string, number>;
  executors: number;
  capacity: number;
  free: number;
  wait_p50: number | null;
  wait_p95: number | null;
  runs: number;
}

export type BulkState = "RUNNING" | "FINISHED" | "STOPPED" | "FAILED";

export interface BulkCall {
  id: string;
  method: string;
  conditions: Record<string, unknown>;
  args: Record<string, unknown>;
  rate: number | null;
  reason: string | null;
  user_id: string | null;
  state: BulkState;
  started: number;
  ended: number | null;
  matched: number;
  done: number;
  changed: number;
  refused: number;
  pending: number;
  refusals: RefusalCount[];
  error: string | null;
  stopped_by: string | null;
  sample?: string[];
}

export interface ComingFire {
  id: string;
  at: number;
  app_name: string;
  status: Status;
  description: string | null;
}

export interface InboxEntry {
  message_id: string;
  name: string | null;
  data: unknown;
  state: "buffered" | "consumed";
  sender: string | null;
  at: number | null;
}

export interface FamilyMember {
  id: string;
  parent_id: string | null;
  depth: number;
  app_name: string;
  status: Status;
  status_reason: string | null;
  stage: number;
  stages: number;
  since: number;
  next_task: string | null;
}

export interface CommandView {
  app_name: string;
  method: string;
  params: Record<string, unknown>;
  doc: string;
  executors: number;
}

/** A line that an attempt of a stage has logged or printed. */
export interface LogLine {
  n: number;
  at: number;
  level: "debug" | "info" | "warning" | "error";
  source: "log" | "output";
  message: string | null;
  fields: Record<string, unknown> | null;
  stage: number;
  attempt: number;
  cycle: number;
  left_out?: number;
}

export interface LogPage {
  data: LogLine[];
  cursor: string | null;
}
