// Generated from docs/api/asyncapi.json by `npm run generate`. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * @description A file was stored. It is void if the attempt is interrupted or fails later.
         *
         *     The service sends the message when the file is stored or when the job ends, and again to a
         *     socket that subscribes anew. Within an attempt, a file keeps its `number`, so the client can
         *     drop a file that it has already. One answer, and one change of the job, has at most 100 of these
         *     messages; `artifacts_total` in `done` is the number of files.
         */
        ArtifactMessage: {
            /** @description The job that the message is about. */
            job_id: string;
            /** @description Number of the job's state; it rises with every change. */
            version: number;
            /**
             * @description Orders the messages of one version.
             * @default 0
             */
            part: number;
            /**
             * @description The type of the message.
             * @default artifact
             * @constant
             */
            type: "artifact";
            /** @description The file's place among the job's files, from 0. */
            number: number;
            /** @description A signed URL of the file. */
            url: string;
            /** @description The file's name, as the workflow chose it. */
            name: string;
            /** @description What the workflow uses the file as, for example `image`. */
            kind: string;
            /** @description Id of the node that made the file; empty if no node reports the file. */
            node: string;
            /** @description The attempt that the message is about. */
            attempt: number;
        };
        /** @description One file that the job made. */
        ArtifactView: {
            /**
             * @description The file's place among the job's files, from 0.
             * @default 0
             */
            number?: number;
            /** @description A signed URL of the file. Each read of the job signs a new one; it needs no key, so treat it as a secret. */
            url: string;
            /** @description The file's name, as the workflow chose it. */
            name: string;
            /** @description What the workflow uses the file as, for example `image`. */
            kind: string;
            /** @description The file's media type. */
            content_type: string;
            /** @description The file's size. */
            bytes: number;
            /** @description SHA-256 of the file in hexadecimal. */
            sha256: string;
            /** @description Id of the node that made the file; empty if no node reports the file. */
            node: string;
            /**
             * @description Whether the workflow made the file as a preview. Previews are results only if the workflow made no other file.
             * @default false
             */
            temporary?: boolean;
            /** @description When `url` stops working; read the job again for a new one. */
            url_expires_at?: string | null;
            /**
             * Format: int64
             * @description The seed, if the job was described by parameters.
             */
            seed?: number | bigint | null;
            /** @description Further facts about the file, such as its attempt. */
            meta?: {
                [key: string]: unknown;
            };
        };
        /** @description The job has ended. It is the last message about the job. */
        DoneMessage: {
            /** @description The job that the message is about. */
            job_id: string;
            /** @description Number of the job's state; it rises with every change. */
            version: number;
            /**
             * @description Orders the messages of one version.
             * @default 0
             */
            part: number;
            /**
             * @description The type of the message.
             * @default done
             * @constant
             */
            type: "done";
            /**
             * @description How the job ended.
             * @enum {string}
             */
            status: "succeeded" | "failed" | "canceled" | "expired";
            /** @description What the job has made. */
            result?: components["schemas"]["ResultView"] | null;
            /** @description Why the job failed. */
            error?: components["schemas"]["ErrorView"] | null;
        };
        /** @description The service refused the client's last message, or is about to close the socket. */
        ErrorMessage: {
            /**
             * @description The type of the message.
             * @default error
             * @constant
             */
            type: "error";
            /**
             * @description Stable name of the kind of error; decide by it.
             * @example job_not_found
             * @example too_many_requests
             * @example sockets_disabled
             * @example key_void
             * @example too_many_subscriptions
             * @example message_too_large
             * @example bad_json
             * @example unknown_action
             * @example bad_message
             */
            code: string;
            /** @description The error explained to people. */
            message: string;
            /** @description The job that the refused message was about. */
            job_id?: string | null;
            /** @description The limit that is reached, if the code is `too_many_requests`. */
            budget?: string | null;
        };
        /** @description Why the job, or its last attempt, failed. */
        ErrorView: {
            /** @description Stable name of the kind of error. */
            type: string;
            /** @description What went wrong, for people. */
            message: string;
            /** @description Id of the node that failed. */
            node_id?: string | null;
            /** @description Class of that node. */
            node_type?: string | null;
            /** @description The attempt that failed. */
            attempt?: number | null;
        };
        /** @description Keep the connection open. The service answers with `pong`. */
        Ping: {
            /**
             * @description The action.
             * @constant
             */
            action: "ping";
        };
        /** @description The answer to `ping`. */
        PongMessage: {
            /**
             * @description The type of the message.
             * @default pong
             * @constant
             */
            type: "pong";
        };
        /** @description How far the attempt is. */
        ProgressMessage: {
            /** @description The job that the message is about. */
            job_id: string;
            /** @description Number of the job's state; it rises with every change. */
            version: number;
            /**
             * @description Orders the messages of one version.
             * @default 0
             */
            part: number;
            /**
             * @description The type of the message.
             * @default progress
             * @constant
             */
            type: "progress";
            /** @description How much of the attempt is done, from 0 to 1. */
            progress: number;
            /** @description The same as a short text. */
            message?: string | null;
            /** @description Id of the node that runs. */
            node?: string | null;
            /** @description Class of that node. */
            node_type?: string | null;
            /** @description The node's current step. */
            step?: number | null;
            /** @description The node's number of steps. */
            steps?: number | null;
            /** @description Signed URL of a preview of the unfinished picture, sent when there is a newer one. The preview is removed soon after the job's end. */
            preview?: string | null;
        };
        /** @description What an ended job has made. */
        ResultView: {
            /** @description The first files, at most 100. */
            artifacts: components["schemas"]["ArtifactView"][];
            /**
             * @description How many files the job has made in all.
             * @default 0
             */
            artifacts_total?: number;
            /** @description If there are more files: send it as `cursor` to `GET /api/v1/jobs/{job_id}/artifacts` for the next ones. */
            next_cursor?: string | null;
            /** @description What nodes have reported beside files and texts, by node id and key. A number that JSON cannot express is the text `NaN`, `Infinity` or `-Infinity`. */
            values?: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            /** @description `<node>.<key>` of each reported value that is missing in `values`, because all values together have at most 64 KiB. */
            values_cut?: string[];
            /** @description What went wrong without making the job fail. */
            warnings?: components["schemas"]["WarningView"][];
            /**
             * @description Whether some outputs of the workflow are missing; `warnings` says which.
             * @default false
             */
            partial?: boolean;
            /** @description Why a job that succeeded has made neither a file nor a value. */
            empty_reason?: string | null;
            /**
             * @description Whether something is left out here: files after the first ones, or, in a message of the WebSocket, also values and warnings. Read the job over HTTP for those.
             * @default false
             */
            truncated?: boolean;
        };
        /**
         * @description The job's state: once after `subscribe`, then after every change of state.
         *
         *     The answer to a subscription is marked by `snapshot`. The changes that the client missed since
         *     `after` come before it. Live messages can arrive among them, so a client keeps live messages
         *     until it has the snapshot, and then sorts all of them by (version, part).
         */
        StatusMessage: {
            /** @description The job that the message is about. */
            job_id: string;
            /** @description Number of the job's state; it rises with every change. */
            version: number;
            /**
             * @description Orders the messages of one version.
             * @default 0
             */
            part: number;
            /**
             * @description The type of the message.
             * @default status
             * @constant
             */
            type: "status";
            /**
             * @description The job's state. `canceling` means that a cancel was requested and the job's worker has not ended it yet.
             * @enum {string}
             */
            status: "queued" | "running" | "canceling" | "succeeded" | "failed" | "canceled" | "expired";
            /** @description How much of the attempt is done, from 0 to 1. */
            progress: number;
            /** @description The attempt that the message is about. */
            attempt: number;
            /** @description Why a job waits again: `interrupted` (its worker had to stop), `attempt_failed`, `worker_lost` or `worker_unhealthy` (disk, memory or GPU of its worker failed). `claimed`: a worker prepares it. More may be added. */
            reason?: ("claimed" | "interrupted" | "attempt_failed" | "worker_lost" | "worker_unhealthy") | string | null;
            /** @description True if the message answers a subscription. */
            snapshot?: boolean | null;
            /** @description Approximate place in the queue while the job waits. */
            queue_position?: number | null;
        };
        /** @description Follow a job. The service answers with the job's state, and sends every later change. */
        Subscribe: {
            /**
             * @description The action.
             * @constant
             */
            action: "subscribe";
            /** @description The job to follow. */
            job_id: string;
            /** @description The version of the last message that the client has. The service first sends the changes of state after it. */
            after?: number | null;
        };
        /** @description Stop following a job. There is no answer. */
        Unsubscribe: {
            /**
             * @description The action.
             * @constant
             */
            action: "unsubscribe";
            /** @description The job to follow no longer. */
            job_id: string;
        };
        /** @description Something that went wrong without making the job fail. */
        WarningView: {
            /** @description Stable name of the kind of warning. */
            type: string;
            /** @description What went wrong, for people. */
            message: string;
            /** @description Id of the node that is concerned. */
            node_id?: string | null;
            /** @description Class of that node. */
            node_type?: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
