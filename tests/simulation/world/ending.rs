//! How a world ends: all lines flow, and whatever was promised must be so without anything more happening; then time
//! passes, and all go home.

use stentor::metrics::Counter;
use stentor::reactor::simulation::Census;

use super::laws::{Rest, judge};
use super::line::Leave;
use super::{MOST_LATE, SLACK, Talk, World};

impl World<'_> {
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.note(|| "all lines flow".to_owned());
        self.visitors.iter_mut().for_each(|visitor| visitor.line.free());
        self.rest();
        self.check()?;
        match self.stopped {
            Some(since) => {
                // Each core's time runs from its next turn.
                let until = since + self.options.shutdown_deadline + 2 * MOST_LATE;
                self.pass(until.saturating_sub(self.now));
                self.check()?;
                if !self.simulation.end_done() {
                    return Err("the server did not end within its deadline".to_owned());
                }
                judge(&self.house.book.borrow(), Rest::Ended)?;
            }
            None => {
                self.judge_rest()?;
                self.publish_to_all();
                self.rest();
                self.judge_rest()?;
                self.let_time_pass()?;
                self.all_go_home()?;
            }
        }
        let panics = self.simulation.metrics().total(Counter::Panics);
        if panics > 0 { Err(format!("{panics} callbacks panicked")) } else { Ok(()) }
    }

    /// Nothing is under way, so everything is answered and heard.
    fn judge_rest(&mut self) -> Result<(), String> {
        self.check()?;
        for visitor in &mut self.visitors {
            let is_there = !visitor.is_ended && visitor.line.left.is_none();
            let is_speaking = match &visitor.talk {
                Talk::Guest(guest) => guest.is_speaking(),
                Talk::BackEnd(back_end) => back_end.is_speaking(),
                Talk::Loiterer => false,
            };
            if is_speaking {
                // Whatever the server had against it was told by now.
                (visitor.line.was_slow, visitor.line.was_narrow) = (false, false);
            }
            let wish = match &visitor.talk {
                Talk::Guest(guest) if is_there && is_speaking => guest.judge_rest(),
                Talk::Guest(guest) => {
                    guest.end_all_stays();
                    None
                }
                Talk::BackEnd(back_end) if is_there && is_speaking => back_end.judge_rest(),
                Talk::BackEnd(_) | Talk::Loiterer => None,
            };
            wish.map_or(Ok(()), Err)?;
        }
        judge(&self.house.book.borrow(), Rest::Yes)
    }

    /// Time passes: whoever is sound is still there, whoever is not is gone (`note_end`, `judge_time`).
    fn let_time_pass(&mut self) -> Result<(), String> {
        self.pass(self.longest_silence() + SLACK);
        self.check()?;
        judge(&self.house.book.borrow(), Rest::Yes)
    }

    fn all_go_home(&mut self) -> Result<(), String> {
        self.note(|| "all go home".to_owned());
        for visitor in &mut self.visitors {
            if visitor.line.left.is_some() {
                continue;
            }
            match &mut visitor.talk {
                Talk::Guest(guest) if self.choices.percent(50) => guest.close(&mut visitor.line),
                _ => visitor.line.leave(Leave::Finish),
            }
        }
        self.pass(self.longest_silence() + SLACK);
        self.check()?;
        let census = self.simulation.census();
        if census != Census::default() {
            return Err(format!("all have gone, and left something behind: {census:?}"));
        }
        Ok(())
    }
}
