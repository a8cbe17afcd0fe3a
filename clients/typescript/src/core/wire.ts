/** What travels, by name; the types are generated from the OpenAPI and AsyncAPI documents. */

import type { components as Http } from "../generated/http.js";
import type { components as Live } from "../generated/live.js";

export type AlarmList = Http["schemas"]["AlarmList"];
export type AlarmView = Http["schemas"]["AlarmView"];
export type ArtifactLink = Http["schemas"]["ArtifactLink"];
export type ArtifactPage = Http["schemas"]["ArtifactPage"];
export type ArtifactView = Http["schemas"]["ArtifactView"];
export type Caller = Http["schemas"]["Caller"];
export type CancelAnswer = Http["schemas"]["CancelAnswer"];
export type DeadLetterList = Http["schemas"]["DeadLetterList"];
export type DeadLetterView = Http["schemas"]["DeadLetterView"];
export type ErrorView = Http["schemas"]["ErrorView"];
export type EventList = Http["schemas"]["EventList"];
export type GraphView = Http["schemas"]["GraphView"];
export type FailureGroup = Http["schemas"]["FailureGroupView"];
export type FailureList = Http["schemas"]["FailureList"];
export type JobAccepted = Http["schemas"]["JobAccepted"];
export type JobPage = Http["schemas"]["JobPage"];
export type JobView = Http["schemas"]["JobView"];
export type LaneView = Http["schemas"]["LaneView"];
export type LiveJobPage = Http["schemas"]["LiveJobPage"];
export type LiveJobView = Http["schemas"]["LiveJobView"];
export type KeyLimits = Http["schemas"]["KeyLimits"];
export type KeyList = Http["schemas"]["KeyList"];
export type KeyPage = Http["schemas"]["KeyPage"];
export type KeyView = Http["schemas"]["KeyView"];
export type Models = Http["schemas"]["Models"];
export type NewKey = Http["schemas"]["NewKeyResponse"];
export type NewKeyRequest = Partial<Omit<Http["schemas"]["NewKeyRequest"], "limits">> & {
  limits?: Partial<Http["schemas"]["NewLimits"]>;
};
export type OwnerPage = Http["schemas"]["OwnerPage"];
export type SessionsEnded = Http["schemas"]["SessionsEnded"];
export type OwnerView = Http["schemas"]["OwnerView"];
export type Problem = Http["schemas"]["Problem"];
export type ProgressDetail = Http["schemas"]["ProgressDetail"];
export type PoolQueues = Http["schemas"]["PoolQueues"];
export type QueueList = Http["schemas"]["QueueList"];
export type RedriveAnswer = Http["schemas"]["RedriveAnswer"];
export type ResultView = Http["schemas"]["ResultView"];
export type SwitchesView = Http["schemas"]["SwitchesView"];
export type SocketPass = Http["schemas"]["SocketPassResponse"];
export type Token = Http["schemas"]["TokenResponse"];
export type TokenRequest = Partial<Http["schemas"]["TokenRequest"]> & { user: string };
export type TextToImageRequest = Http["schemas"]["TextToImageRequest"];
export type UploadAccepted = Http["schemas"]["UploadAccepted"];
export type UsageView = Http["schemas"]["UsageView"];
export type WarningView = Http["schemas"]["WarningView"];
export type WorkerList = Http["schemas"]["WorkerList"];
export type WorkerView = Http["schemas"]["WorkerView"];

/** A job described by a workflow: the graph itself, or its JSON text, which is sent unchanged. */
export type WorkflowRequest = Omit<Http["schemas"]["WorkflowRequest"], "workflow"> & {
  workflow: Http["schemas"]["WorkflowRequest"]["workflow"] | string;
};
export type SubmitRequest = TextToImageRequest | WorkflowRequest;

export type StatusMessage = Live["schemas"]["StatusMessage"];
export type ProgressMessage = Live["schemas"]["ProgressMessage"];
export type ArtifactMessage = Live["schemas"]["ArtifactMessage"];
export type DoneMessage = Live["schemas"]["DoneMessage"];
export type JobMessage = StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage;

export type Status = JobView["status"];
export type EndStatus = DoneMessage["status"];

export const END_STATUS: readonly string[] = ["succeeded", "failed", "canceled", "expired"];
export const STATUS: readonly string[] = ["queued", "running", "canceling", ...END_STATUS];
