// Generated from docs/api/openapi.json by `npm run generate`. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description One page of the files of an ended job, in the job's order. */
        ArtifactPage: {
            /** @description The job's id. */
            job_id: string;
            /** @description The files, with freshly signed URLs. */
            artifacts: components["schemas"]["ArtifactView"][];
            /** @description How many files the job has made in all. */
            artifacts_total: number;
            /** @description Send it as `cursor` for the next page; null on the last page. */
            next_cursor?: string | null;
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
        /** @description What the cancel did. */
        CancelAnswer: {
            /** @description The job's id. */
            job_id: string;
            /**
             * @description The job's state. `canceling` means that a cancel was requested and the job's worker has not ended it yet.
             * @enum {string}
             */
            status: "queued" | "running" | "canceling" | "succeeded" | "failed" | "canceled" | "expired";
            /** @description What happened, for people. */
            message: string;
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
        /** @description A job's changes of state. */
        EventList: {
            /** @description The job's id. */
            job_id: string;
            /** @description The changes, oldest first. The first of very many may be missing. */
            events: components["schemas"]["EventView"][];
            /** @description The `status` message that the WebSocket sends for each change in `events`, so that a client that polls gets the same messages as one that listens. */
            messages?: components["schemas"]["StatusMessage"][];
        };
        /** @description One change of a job's state. */
        EventView: {
            /** @description Number of the job's state; each change that a client can see raises it. */
            version: number;
            /**
             * Format: date-time
             * @description When the change happened, in UTC.
             */
            at: string;
            /** @description Stable name of what happened, for example `started`. */
            event: string;
            /**
             * @description The state after the change.
             * @enum {string}
             */
            status: "queued" | "running" | "succeeded" | "failed" | "canceled" | "expired";
            /** @description How many times a worker had taken the job by then. */
            attempt: number;
        };
        /** @description What ComfyUI is given beside the workflow. Only `extra_pnginfo` is passed on. */
        ExtraData: {
            /** @description What ComfyUI writes into the pictures beside the workflow, and hands to nodes that ask for it. Its `workflow`, saved by ComfyUI's editor, lets a picture be dragged back into the editor. */
            extra_pnginfo?: {
                [key: string]: unknown;
            };
        };
        /** @description One field that is wrong. */
        FieldProblem: {
            /** @description Where the field is, from the outside in. */
            loc: (string | number)[];
            /** @description What is wrong with it. */
            msg: string;
        };
        /** @description The API answers. */
        Health: {
            /**
             * @description Always `ok`.
             * @constant
             */
            status: "ok";
        };
        /** @description A job was accepted, or an earlier request had already made it. */
        JobAccepted: {
            /** @description The job's id. */
            job_id: string;
            /**
             * @description The job's state. `canceling` means that a cancel was requested and the job's worker has not ended it yet.
             * @enum {string}
             */
            status: "queued" | "running" | "canceling" | "succeeded" | "failed" | "canceled" | "expired";
            /**
             * Format: date-time
             * @description When the service accepted the job.
             */
            queued_at: string;
            /** @description The path to read the job at. */
            location: string;
        };
        /** @description One page of the caller's jobs, newest first. */
        JobPage: {
            /** @description The jobs, without their results. */
            jobs: components["schemas"]["JobView"][];
            /** @description Send it as `cursor` for the next page; null on the last page. */
            next_cursor?: string | null;
        };
        /** @description A job as its owner sees it. */
        JobView: {
            /** @description The job's id. */
            job_id: string;
            /**
             * @description The job's state. `canceling` means that a cancel was requested and the job's worker has not ended it yet.
             * @enum {string}
             */
            status: "queued" | "running" | "canceling" | "succeeded" | "failed" | "canceled" | "expired";
            /** @description How much of the attempt is done. */
            progress: number;
            /** @description Node and step of the attempt. */
            progress_detail: components["schemas"]["ProgressDetail"];
            /** @description The owner of the key that submitted the job. */
            submitted_by: string;
            /** @description The parameters that the job was described by, with the drawn seed. Empty for a workflow. */
            params: {
                [key: string]: unknown;
            };
            /** @description The labels that the request gave. */
            metadata: {
                [key: string]: string;
            };
            /**
             * @description Workers take jobs of a higher priority first.
             * @enum {string}
             */
            priority: "high" | "normal" | "low";
            /** @description How still pictures are stored; null if as the workflow made them. */
            output?: components["schemas"]["OutputView"] | null;
            /**
             * @description Whether `progress` messages of the WebSocket link to previews.
             * @default false
             */
            previews?: boolean;
            /**
             * @description Whether the job fails if an output of its workflow is invalid.
             * @default false
             */
            strict?: boolean;
            /** @description What an ended job has made. A job that did not succeed has the files that were stored before. Lists of jobs leave the result out. */
            result?: components["schemas"]["ResultView"] | null;
            /** @description Why the job, or its last attempt, failed. */
            error?: components["schemas"]["ErrorView"] | null;
            /** @description Times of the job's changes. */
            timestamps: components["schemas"]["Timestamps"];
            /** @description How many times a worker has taken the job; 0 before the first. */
            attempt: number;
            /** @description How many attempts were given back because their worker had to stop. They do not count as failures. */
            interruptions: number;
            /** @description Whether ComfyUI took some of the job's nodes from an earlier run. */
            cached: boolean;
            /** @description GPU time of all attempts. */
            gpu_seconds: number;
            /** @description Number of the job's state; each change that a client can see raises it. */
            version: number;
            /** @description Approximate place in the queue while the job waits: at most so many jobs are started before it. */
            queue_position?: number | null;
            /** @description The job that this one is a retry of. */
            retry_of?: string | null;
        };
        /** @description The names that a request may use. */
        Models: {
            /** @description The checkpoint of a request without `model`. */
            default_checkpoint: string;
            /** @description The values of `model`. */
            checkpoints: string[];
            /** @description The values of `sampler`. */
            samplers: string[];
            /** @description The values of `scheduler`. */
            schedulers: string[];
            /** @description The node classes that a workflow may use. Empty if all are allowed. */
            node_classes: string[];
        };
        /** @description How still pictures are stored. Files of other kinds are stored as the workflow made them. */
        OutputOptions: {
            /**
             * @description The encoding of the stored pictures.
             * @enum {string}
             */
            format: "webp" | "jpeg";
            /**
             * @description Quality of the encoding; a higher one makes larger files.
             * @default 90
             */
            quality?: number;
        };
        /** @description How the job's still pictures are stored. */
        OutputView: {
            /** @description The encoding of the stored pictures. */
            format: string;
            /** @description Quality of the encoding. */
            quality: number;
        };
        /** @description Why the service refused the request (RFC 9457). */
        Problem: {
            /** @description A URN of the code. */
            type: string;
            /** @description What the code means. */
            title: string;
            /** @description The HTTP status. */
            status: number;
            /** @description The fault of this request. */
            detail: string;
            /**
             * @description Stable name of the kind of problem; decide by it.
             * @example malformed_request
             * @example unauthorized
             * @example forbidden
             * @example job_not_found
             * @example route_not_found
             * @example method_not_allowed
             * @example job_not_retryable
             * @example request_too_large
             * @example invalid_request
             * @example idempotency_key_reused
             * @example too_many_jobs
             * @example too_many_requests
             * @example internal_error
             * @example unavailable
             * @example jobs_disabled
             */
            code: string;
            /** @description The service logs the request under this id. */
            request_id?: string | null;
            /** @description The invalid fields, if the code is `invalid_request`. */
            errors?: components["schemas"]["FieldProblem"][] | null;
            /** @description Of a 429: the limit that is reached, such as `requests` or `active_jobs`. */
            budget?: string | null;
        };
        /** @description Which part of its workflow the job is at. */
        ProgressDetail: {
            /** @description Id of the node that runs. */
            node?: string | null;
            /** @description Class of that node. */
            node_type?: string | null;
            /** @description The node's current step. */
            step?: number | null;
            /** @description The node's number of steps. */
            steps?: number | null;
            /**
             * @description How many nodes of the workflow are done.
             * @default 0
             */
            nodes_done?: number;
            /**
             * @description How many nodes the workflow has.
             * @default 0
             */
            nodes_total?: number;
            /** @description The same as a short text. */
            message?: string | null;
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
        /** @description A pass that opens one WebSocket. */
        SocketPassResponse: {
            /** @description Send it as the query parameter `ticket`; it works once. */
            ticket: string;
            /** @description The address of the WebSocket API, with the ticket in its query. */
            url: string;
            /**
             * Format: date-time
             * @description When the pass stops working.
             */
            expires_at: string;
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
            part?: number;
            /**
             * @description The type of the message.
             * @default status
             * @constant
             */
            type?: "status";
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
        /** @description A job described by parameters. The service compiles them into a text-to-image workflow. */
        TextToImageRequest: {
            /**
             * @description Workers take jobs of a higher priority first.
             * @default normal
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /** @description A job that has not started after this time ends as `expired`. If null, the deployment's default applies. */
            start_deadline_seconds?: number | null;
            /** @description A job that runs longer than this ends as `failed`. The time counts from the moment when ComfyUI starts the job. If null, the deployment's default applies. */
            execution_timeout_seconds?: number | null;
            /** @description Labels of your own, returned with the job and in lists. Names and values together have at most 1024 bytes. */
            metadata?: {
                [key: string]: string;
            };
            /** @description Whether your queued, running or succeeded job with the same body may answer this request instead of a new job. If null, only a prompt with a `seed` is answered so. The field has no effect beside an `Idempotency-Key`. */
            reuse?: boolean | null;
            /** @description How still pictures are stored. If null, they stay as the workflow made them. */
            output?: components["schemas"]["OutputOptions"] | null;
            /**
             * @description Whether `progress` messages of the WebSocket link to a preview of the unfinished picture.
             * @default false
             */
            previews?: boolean;
            /** @description What the picture shows. */
            prompt: string;
            /**
             * @description What the picture must not show.
             * @default
             */
            negative_prompt?: string;
            /**
             * @description Width in pixels. An image of more than 4,000,000 pixels is refused with 413, unless your key has another limit.
             * @default 512
             */
            width?: number;
            /**
             * @description Height in pixels.
             * @default 512
             */
            height?: number;
            /**
             * @description Number of sampling steps.
             * @default 20
             */
            steps?: number;
            /**
             * @description How closely the sampler follows the prompt.
             * @default 7
             */
            cfg_scale?: number;
            /**
             * @description One of `samplers` of GET /api/v1/models.
             * @default euler
             */
            sampler?: string;
            /**
             * @description One of `schedulers` of GET /api/v1/models.
             * @default normal
             */
            scheduler?: string;
            /**
             * Format: int64
             * @description Seed of the noise; it makes a picture repeatable. If null, the service draws one below 2^53 and returns it in the job's `params`. JavaScript and jq read a larger one wrong, unless they parse it as a big integer.
             */
            seed?: number | bigint | null;
            /** @description One of `checkpoints` of GET /api/v1/models. If null, the deployment's default checkpoint. */
            model?: string | null;
            /**
             * @description Number of images; more than 10 are refused with 413, unless your key has another limit.
             * @default 1
             */
            batch_size?: number;
        };
        /** @description When the job's changes happened, in UTC. */
        Timestamps: {
            /**
             * Format: date-time
             * @description The service accepted the job.
             */
            queued_at: string;
            /** @description ComfyUI started the last attempt. */
            started_at?: string | null;
            /** @description The job ended. */
            finished_at?: string | null;
            /** @description The service removes the ended job and its files. */
            expires_at?: string | null;
        };
        /** @description How to send the file: a form to post. */
        UploadAccepted: {
            /** @description Names the file in a workflow's `inputs`. */
            upload_id: string;
            /** @description Where to post the form to. */
            url: string;
            /** @description The form's fields. Send all of them, and after them the file as `file`. */
            fields: {
                [key: string]: string;
            };
            /**
             * Format: date-time
             * @description When the form stops working.
             */
            expires_at: string;
        };
        /** @description The description of a file that a job will use. */
        UploadRequest: {
            /** @description The file's name. Nodes get the file with its suffix, which shows its format. */
            name: string;
            /** @description The file's media type, such as `image/png`, `audio/flac`, `model/gltf-binary` or `text/plain`; `application/octet-stream` if it has none. The file must be sent with exactly this type. */
            content_type: string;
            /** @description The file's exact size. */
            bytes: number;
            /** @description SHA-256 of the file in hexadecimal. If given, another content is refused. */
            sha256?: string | null;
        };
        /** @description What the caller's ended jobs have used in all. */
        UsageView: {
            /** @description The owner of the key. */
            owner: string;
            /** @description GPU time of all ended jobs. */
            gpu_seconds: number;
            /** @description How many jobs have ended. */
            jobs: number;
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
        /** @description A job described by a workflow in ComfyUI's API format. */
        WorkflowRequest: {
            /**
             * @description Workers take jobs of a higher priority first.
             * @default normal
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /** @description A job that has not started after this time ends as `expired`. If null, the deployment's default applies. */
            start_deadline_seconds?: number | null;
            /** @description A job that runs longer than this ends as `failed`. The time counts from the moment when ComfyUI starts the job. If null, the deployment's default applies. */
            execution_timeout_seconds?: number | null;
            /** @description Labels of your own, returned with the job and in lists. Names and values together have at most 1024 bytes. */
            metadata?: {
                [key: string]: string;
            };
            /** @description Whether your queued, running or succeeded job with the same body may answer this request instead of a new job. If null, only a prompt with a `seed` is answered so. The field has no effect beside an `Idempotency-Key`. */
            reuse?: boolean | null;
            /** @description How still pictures are stored. If null, they stay as the workflow made them. */
            output?: components["schemas"]["OutputOptions"] | null;
            /**
             * @description Whether `progress` messages of the WebSocket link to a preview of the unfinished picture.
             * @default false
             */
            previews?: boolean;
            /** @description The graph as ComfyUI exports it with Export (API): node ids and their nodes. */
            workflow: {
                [key: string]: unknown;
            };
            /** @description What ComfyUI is given beside the workflow. */
            extra_data?: components["schemas"]["ExtraData"] | null;
            /** @description Uploaded files for inputs of nodes: `<node id>.<input>` to `upload:<upload_id>`. */
            inputs?: {
                [key: string]: string;
            };
            /**
             * @description Whether the job fails if an output of the workflow is not valid. If false, ComfyUI runs the valid outputs, and the result names the others in `warnings`.
             * @default false
             */
            strict?: boolean;
        };
        /** @description A problem of the service, or the gateway's own answer, which has only a `message`. */
        Refusal: {
            /** @description A URN of the code. */
            type?: string;
            /** @description What the code means. */
            title?: string;
            /** @description The HTTP status. */
            status?: number;
            /** @description The fault of this request. */
            detail?: string;
            /**
             * @description Stable name of the kind of problem; decide by it.
             * @example malformed_request
             * @example unauthorized
             * @example forbidden
             * @example job_not_found
             * @example route_not_found
             * @example method_not_allowed
             * @example job_not_retryable
             * @example request_too_large
             * @example invalid_request
             * @example idempotency_key_reused
             * @example too_many_jobs
             * @example too_many_requests
             * @example internal_error
             * @example unavailable
             * @example jobs_disabled
             */
            code?: string;
            /** @description The service logs the request under this id. */
            request_id?: string | null;
            /** @description The invalid fields, if the code is `invalid_request`. */
            errors?: components["schemas"]["FieldProblem"][] | null;
            /** @description Of a 429: the limit that is reached, such as `requests` or `active_jobs`. */
            budget?: string | null;
            /** @description The gateway's short English text. */
            message?: string | null;
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
