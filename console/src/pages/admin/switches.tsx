import { Conflict } from "@comfyline/client";
import type { SwitchesView } from "@comfyline/client";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState } from "react";
import { ago } from "../../format.js";
import { Command } from "../../parts/command.js";
import { Trouble } from "../../parts/trouble.js";
import { switchesQuery } from "../../operate.js";
import { useSession } from "../../session.js";
import { operate } from "../../texts/operate.js";
import type { OperateTexts } from "../../texts/operate.js";
import { useArea, useLanguage, useTexts } from "../../texts/index.js";
import "../../operate.css";

type Switch = "jobs_enabled" | "sockets_enabled";

/** Pause and resume the service for all users. */
export default function SwitchesPage() {
  const texts = useTexts();
  const own = useArea(operate);
  const language = useLanguage();
  const { client } = useSession();
  const { data, error, refetch } = useQuery(switchesQuery(client));
  return (
    <>
      <h1>{own.switchesTitle}</h1>
      {error && <Trouble error={error} again={() => void refetch()} />}
      {!error && !data && <p className="muted">{texts.loading}</p>}
      {data && (
        <>
          <p className="muted">
            {own.switchesHint}{" "}
            {data.changed_at
              ? own.changed(ago(data.changed_at, language), data.changed_by ?? own.byCommand)
              : own.neverChanged}
          </p>
          <OneSwitch name="jobs_enabled" seen={data} />
          <OneSwitch name="sockets_enabled" seen={data} />
          <p>{own.drainHint}</p>
          <Command text="comfyline admin drain" />
        </>
      )}
    </>
  );
}

function OneSwitch({ name, seen }: { name: Switch; seen: SwitchesView }) {
  const own = useArea(operate);
  const [isAsking, setAsking] = useState(false);
  const title = useId();
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setAsking(false);
    button.current?.focus();
  };
  const isOn = seen[name];
  const { heading, hint, act } = textsOf(own, name, isOn);
  return (
    <section className="switch" aria-labelledby={title}>
      <h2 id={title}>
        {heading} <span className={`badge ${isOn ? "on" : "off"}`}>{isOn ? own.on : own.off}</span>
      </h2>
      <button
        type="button"
        className={isOn ? "danger" : "primary"}
        aria-expanded={isAsking}
        ref={button}
        onClick={() => setAsking(true)}
      >
        {act}
      </button>
      <p className="muted">{hint}</p>
      {isAsking && <Question name={name} seen={seen} close={close} />}
    </section>
  );
}

interface QuestionProps {
  name: Switch;
  seen: SwitchesView;
  close: () => void;
}

/** The switch is set on the condition that it is as it was when the operator was asked. */
function Question({ name, seen: current, close }: QuestionProps) {
  const own = useArea(operate);
  const { client } = useSession();
  const queries = useQueryClient();
  const [seen] = useState(current);
  const box = useRef<HTMLDivElement>(null);
  const { sure, act } = textsOf(own, name, seen[name]);
  const { mutate, error, isPending } = useMutation({
    mutationFn: () => client.admin.setSwitches({ [name]: !seen[name] }, seen),
    onSuccess: (now) => {
      queries.setQueryData(switchesQuery(client).queryKey, now);
      close();
    },
    onError: () => void queries.invalidateQueries(switchesQuery(client)),
  });
  useEffect(() => box.current?.focus(), []);
  return (
    <div className="sure" role="group" aria-label={own.sure} tabIndex={-1} ref={box}>
      <strong>{own.sure}</strong>
      <p>{sure}</p>
      {error instanceof Conflict ? (
        <p className="trouble-text" role="alert">
          {own.otherFirst}
        </p>
      ) : (
        error && <Trouble error={error} />
      )}
      <div className="actions">
        {!(error instanceof Conflict) && (
          <button type="button" className="primary" disabled={isPending} onClick={() => mutate()}>
            {act}
          </button>
        )}
        <button type="button" onClick={close}>
          {own.no}
        </button>
      </div>
    </div>
  );
}

function textsOf(own: OperateTexts, name: Switch, isOn: boolean) {
  return name === "jobs_enabled"
    ? {
        heading: own.newJobs,
        hint: own.newJobsHint,
        act: isOn ? own.pauseJobs : own.resumeJobs,
        sure: isOn ? own.pauseJobsSure : own.resumeJobsSure,
      }
    : {
        heading: own.sockets,
        hint: own.socketsHint,
        act: isOn ? own.pauseSockets : own.resumeSockets,
        sure: isOn ? own.pauseSocketsSure : own.resumeSocketsSure,
      };
}
