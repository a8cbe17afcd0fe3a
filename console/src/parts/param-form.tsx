import type { JobView, Models, TextToImageRequest } from "@comfyline/client";
import { useState } from "react";
import type { ReactNode } from "react";
import { pairsOf } from "../pages/gallery.js";
import { useTexts } from "../texts/index.js";
import { RequestCode, codeOfPost } from "./request-code.js";
import { SubmitButton, useSubmit } from "./submit.js";

const DEFAULTS = {
  prompt: "",
  negative_prompt: "",
  width: "512",
  height: "512",
  steps: "20",
  cfg_scale: "7",
  sampler: "euler",
  scheduler: "normal",
  seed: "",
  model: "",
  batch_size: "1",
  priority: "normal",
  metadata: "",
};

type Fields = typeof DEFAULTS;

/** A picture from parameters; `earlier` is a job whose parameters the form begins with. */
export function ParamForm({ models, earlier }: { models: Models; earlier: JobView | undefined }) {
  const texts = useTexts();
  const sending = useSubmit();
  const [fields, setFields] = useState<Fields>(() => fieldsOf(earlier));
  const [hasPreviews, setPreviews] = useState(true);
  const request = requestOf(fields, hasPreviews);

  const bind = (name: keyof Fields) => ({
    id: name,
    value: fields[name],
    onChange: ({ target }: { target: { value: string } }) =>
      setFields({ ...fields, [name]: target.value }),
  });
  const number = (name: keyof Fields, text: string, rules: object) => (
    <Field id={name} text={text}>
      <input type="number" inputMode="decimal" required {...rules} {...bind(name)} />
    </Field>
  );
  const choice = (name: keyof Fields, text: string, names: string[]) => (
    <Field id={name} text={text}>
      {names.length ? (
        <select {...bind(name)}>
          {[...new Set([fields[name], ...names])].filter(Boolean).map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      ) : (
        <input required {...bind(name)} />
      )}
    </Field>
  );

  return (
    <>
      <form
        className="params"
        onSubmit={(event) => {
          event.preventDefault();
          sending.mutate({ request });
        }}
      >
        <Field id="prompt" text={texts.prompt} isWide>
          <textarea rows={4} required maxLength={20_000} {...bind("prompt")} />
        </Field>
        <Field id="negative_prompt" text={texts.negativePrompt} isWide>
          <textarea rows={2} maxLength={20_000} {...bind("negative_prompt")} />
        </Field>
        <Field id="model" text={texts.model} isWide>
          <input
            list="checkpoints"
            maxLength={255}
            placeholder={texts.defaultModel(models.default_checkpoint)}
            {...bind("model")}
          />
          <datalist id="checkpoints">
            {models.checkpoints.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </Field>
        {number("width", texts.width, { min: 16, max: 16384, step: 8 })}
        {number("height", texts.height, { min: 16, max: 16384, step: 8 })}
        {number("steps", texts.steps, { min: 1, max: 1000 })}
        {number("cfg_scale", texts.cfgScale, { min: 0, max: 100, step: "any" })}
        {choice("sampler", texts.sampler, models.samplers)}
        {choice("scheduler", texts.scheduler, models.schedulers)}
        <Field id="seed" text={texts.seed} hint={texts.seedHint}>
          <input
            inputMode="numeric"
            pattern="[0-9]{1,19}"
            aria-describedby="seed-hint"
            {...bind("seed")}
          />
        </Field>
        {number("batch_size", texts.batchSize, { min: 1, max: 1000 })}
        <Field id="priority" text={texts.priority}>
          <select {...bind("priority")}>
            {Object.entries(texts.priorities).map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </Field>
        <Field id="metadata" text={texts.metadata} hint={texts.metadataHint}>
          <input
            pattern="[^=,]+=[^,]*(,[^=,]+=[^,]*)*"
            title={texts.metadataWrong}
            aria-describedby="metadata-hint"
            {...bind("metadata")}
          />
        </Field>
        <label className="check wide">
          <input
            type="checkbox"
            checked={hasPreviews}
            onChange={({ target }) => setPreviews(target.checked)}
          />
          {texts.showPreviews}
        </label>
        <div className="wide">
          <SubmitButton sending={sending} isReady />
        </div>
      </form>
      <RequestCode code={codeOfPost(request)} />
    </>
  );
}

interface FieldProps {
  id: string;
  text: string;
  hint?: string;
  isWide?: boolean;
  children: ReactNode;
}

/** A control with its label, and a hint that screen readers read after it. */
function Field({ id, text, hint, isWide, children }: FieldProps) {
  return (
    <div className={isWide ? "field wide" : "field"}>
      <label htmlFor={id}>{text}</label>
      {children}
      {hint && (
        <span id={`${id}-hint`} className="muted">
          {hint}
        </span>
      )}
    </div>
  );
}

function fieldsOf(earlier: JobView | undefined): Fields {
  if (!earlier) return DEFAULTS;
  const known = Object.entries(earlier.params)
    .filter(([name, value]) => name in DEFAULTS && value !== null)
    .map(([name, value]) => [name, String(value)]);
  const metadata = Object.entries(earlier.metadata)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
  return { ...DEFAULTS, ...Object.fromEntries(known), priority: earlier.priority, metadata };
}

/** The request of the fields; what is at its default is left out. */
function requestOf(fields: Fields, previews: boolean): TextToImageRequest {
  const { prompt, negative_prompt, sampler, scheduler, model, seed, priority, metadata } = fields;
  const pairs = pairsOf(metadata) ?? {};
  const request: Record<string, unknown> = {
    prompt,
    ...(negative_prompt && { negative_prompt }),
    width: Number(fields.width),
    height: Number(fields.height),
    steps: Number(fields.steps),
    cfg_scale: Number(fields.cfg_scale),
    sampler,
    scheduler,
    ...(seed && /^\d+$/.test(seed) && { seed: wholeNumber(seed) }),
    ...(model && { model }),
    batch_size: Number(fields.batch_size),
    ...(priority !== "normal" && { priority }),
    ...(Object.keys(pairs).length && { metadata: pairs }),
    ...(previews && { previews }),
  };
  return request as unknown as TextToImageRequest;
}

/** A seed may be larger than a number of JavaScript holds. */
function wholeNumber(text: string): number | bigint {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : BigInt(text);
}
