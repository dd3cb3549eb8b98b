//! What a replica tells the others after a change: who is to be woken, as texts that are short enough to be sent.

use dayfly_wire::ids::{AgentId, RequestId};
use uuid::Uuid;

/// Ids in one text: PostgreSQL takes fewer than 8000 bytes, and an id has at most 20 with its mark and a space.
const MOST: usize = 300;
const AGENT: char = 'a';
const REQUEST: char = 'r';

/// Who is to be woken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Agents that there is something for.
    pub agents: Vec<AgentId>,
    /// Requests that there is something about.
    pub requests: Vec<RequestId>,
}

impl News {
    /// As texts, in the name of a replica.
    pub fn to_texts(&self, sender: Uuid) -> Vec<String> {
        let agents = self.agents.iter().map(|id| format!("{AGENT}{id}"));
        let requests = self.requests.iter().map(|id| format!("{REQUEST}{id}"));
        let mut marks: Vec<String> = agents.chain(requests).collect();
        marks.sort();
        marks.dedup();
        let text = |marks: &[String]| format!("{} {}", sender.simple(), marks.join(" "));
        marks.chunks(MOST).map(text).collect()
    }

    /// What a text of another replica says; nothing for one of our own, and what is not understood is left out: a
    /// newer replica may say more.
    pub fn from_text(text: &str, me: Uuid) -> Self {
        let mut news = Self::default();
        let mut words = text.split(' ');
        if words.next().and_then(|sender| sender.parse().ok()) == Some(me) {
            return news;
        }
        for word in words {
            if let Some(id) = word.strip_prefix(AGENT).and_then(|id| id.parse().ok()) {
                news.agents.push(AgentId(id));
            } else if let Some(id) = word.strip_prefix(REQUEST).and_then(|id| id.parse().ok()) {
                news.requests.push(RequestId(id));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn others_hear_what_one_says_and_itself_does_not() {
        let news = News {
            agents: vec![AgentId(7), AgentId(12)],
            requests: vec![RequestId(3)],
        };
        let texts = news.to_texts(ME);
        assert_eq!(texts.len(), 1);
        let heard = News::from_text(&texts[0], OTHER);
        assert_eq!(heard.requests, news.requests);
        assert_eq!(heard.agents.len(), 2);
        assert_eq!(News::from_text(&texts[0], ME), News::default());
    }

    #[test]
    fn much_is_said_in_pieces_and_nothing_is_not_said() {
        let news = News {
            agents: (0..1000).map(|id| AgentId(i64::MAX - id)).collect(),
            requests: Vec::new(),
        };
        let texts = news.to_texts(ME);
        assert!(texts.iter().all(|text| text.len() < 8000));
        let heard: usize = texts
            .iter()
            .map(|text| News::from_text(text, OTHER).agents.len())
            .sum();
        assert_eq!(heard, 1000);
        assert!(News::default().to_texts(ME).is_empty());
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for text in ["", "nonsense", "x a1 b2 a r9 axe"] {
            let news = News::from_text(text, ME);
            assert!(news.agents.len() + news.requests.len() <= 2, "{text}");
        }
        assert_eq!(News::from_text("x a1 b2", ME).agents, [AgentId(1)]);
    }
}
