//! What is rare elsewhere happens here every minute, one step after the other, so that each metric has
//! something to show soon: counters and histograms appear with their first event.

use gitlab_simulator::World;
use gitlab_simulator::world::{
    Finish, JobId, JobSpec, MergeRequestState, PipelineId, PipelineSpec, ProjectId, Result,
    ReviewAct, Status,
};

/// A merge request from its opening to its end, beside a pipeline with a child pipeline and a job that may fail,
/// over and over.
#[derive(Debug, Default)]
pub struct Rarities {
    step: usize,
    merge_request: u64,
    pipeline: PipelineId,
}

/// The steps of one round.
const STEPS: usize = 5;

impl Rarities {
    /// Takes the next step in a project.
    ///
    /// # Errors
    /// When the world does not take it.
    pub fn happen(&mut self, world: &mut World, project: ProjectId) -> Result<()> {
        let round = self.step / STEPS;
        match self.step % STEPS {
            0 => {
                let branch = format!("spike-{round}");
                self.merge_request = world.create_merge_request(project, &branch, "main")?;
                world
                    .merge_request_mut(project, self.merge_request)?
                    .review
                    .author = "ada".into();
                let ask = ReviewAct::Ask(&["ben"]);
                world.review(project, self.merge_request, "ada", ask)?;
                let lint = JobSpec::new("test", "lint").allow_failure();
                let component = vec![JobSpec::new("test", "component")];
                let bridge = JobSpec::child_bridge("test", "components", false, component);
                let spec = PipelineSpec::branch("main").job(lint).job(bridge);
                self.pipeline = world.create_pipeline(project, &spec)?;
            }
            1 => {
                world.review(project, self.merge_request, "ben", ReviewAct::Comment)?;
                if let Some(lint) = self.job(world, "lint", &Status::Pending) {
                    world.start_job(lint, None)?;
                }
                if let Some(bridge) = self.job(world, "components", &Status::Pending) {
                    world.trigger_bridge(bridge)?;
                }
            }
            2 => {
                world.review(project, self.merge_request, "ben", ReviewAct::Approve)?;
                if let Some(lint) = self.job(world, "lint", &Status::Running) {
                    world.finish_job(lint, &Finish::failed("script_failure"))?;
                }
                let parent = world.pipeline(self.pipeline);
                let children = parent.map_or_else(Vec::new, |parent| world.downstream_of(parent));
                for child in children {
                    world.finish_pipeline(child.id, &Finish::success())?;
                }
            }
            3 => {
                let closed = MergeRequestState::Closed;
                world.set_merge_request_state(project, self.merge_request, closed)?;
            }
            _ => {}
        }
        self.step += 1;
        Ok(())
    }

    /// A job of the pipeline, if it has the status: the world runs jobs by itself, too.
    fn job(&self, world: &World, name: &str, status: &Status) -> Option<JobId> {
        let job = world.job_named(self.pipeline, name)?;
        (job.status == *status).then_some(job.id)
    }
}
