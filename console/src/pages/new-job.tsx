import { Tab, TabList, TabPanel, TabProvider } from "@ariakit/react";
import { useQuery } from "@tanstack/react-query";
import { GraphForm } from "../parts/graph-form.js";
import { ParamForm } from "../parts/param-form.js";
import { Trouble } from "../parts/trouble.js";
import { jobQuery, modelsQuery } from "../queries.js";
import type { Place } from "../router.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";

/** A new job: from parameters, also those of an earlier job, or from a workflow. */
export default function NewJob({ query }: Place) {
  const from = query.get("from") ?? undefined;
  const texts = useTexts();
  const { client } = useSession();
  const models = useQuery(modelsQuery(client));
  const earlier = useQuery({ ...jobQuery(client, from ?? ""), enabled: from !== undefined });
  const isReady = models.data && (from === undefined || earlier.data || earlier.error);
  return (
    <>
      <h1>{texts.newJob}</h1>
      {models.error && <Trouble error={models.error} again={() => void models.refetch()} />}
      {earlier.error && <Trouble error={earlier.error} />}
      {!isReady && !models.error && <p className="muted">{texts.loading}</p>}
      {isReady && (
        <TabProvider>
          <TabList className="tabs" aria-label={texts.newJob}>
            <Tab id="form" className="tab">
              {texts.form}
            </Tab>
            <Tab id="graph" className="tab">
              {texts.graph}
            </Tab>
          </TabList>
          <TabPanel tabId="form">
            <ParamForm models={models.data!} earlier={earlier.data} />
          </TabPanel>
          <TabPanel tabId="graph">
            <GraphForm />
          </TabPanel>
        </TabProvider>
      )}
    </>
  );
}
