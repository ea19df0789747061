//! Texts of exactly as many tokens as they should have.

use crate::{
    error::{Error, ErrorKind, Result},
    random::SplitMix64,
    text::Tokenizer,
};

/// Common English words: one token each, behind a space, in the vocabularies of today's models.
const WORDS: &str = "a above after again air all an and animal answer area around back bank before begin below between book both \
bread bridge bring build can carry case cause change children city clear close cold color country course cover cross day deep door down \
draw early earth east eat end enough even ever example eye face family far farm father feel few field fire first fish five follow food \
form friend front full garden give glass good green ground group grow hand hard head hear heat help high hold home horse hour house idea \
in is island keep kind king know land large last late lead learn leave left letter life light line list live long low machine main map \
mark measure metal mile money moon morning mountain move music name near never next night no north note number ocean of often old on only \
open order other page paper part path pattern people piece plain plan plant point power press question rain reach ready red rest river \
road rock room round run school science sea season second seed send set ship short side sky sleep slow small snow song sound south stand \
star start state stay step stone story street strong summer sun table talk teach tell that the they time town travel tree turn under unit \
valley voice walk warm watch water we weather week west wheel white wind window winter wood word work world write year young";

/// Words and how many tokens each takes.
pub(super) struct Words(Vec<(&'static str, usize)>);

impl Words {
    /// Asks the tokeniser.
    ///
    /// # Errors
    /// `unsupported` if no word is a token of its own: no length could then be met exactly.
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let tokens = |word: &str| Ok(tokenizer.encode_plain(&format!(" {word}"), usize::MAX)?.len());
        let words = WORDS.split(' ').map(|word| Ok((word, tokens(word)?))).collect::<Result<Vec<_>>>()?;
        if words.iter().all(|(_, tokens)| *tokens != 1) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this model's tokeniser has no token for any common English word",
            )
            .hint("give pairs of your own with --data"));
        }
        Ok(Self(words))
    }

    /// A text of exactly `tokens` tokens behind a space.
    pub(super) fn text(&self, random: &mut SplitMix64, tokens: usize) -> String {
        let mut text = String::new();
        let mut left = tokens;
        while left > 0 {
            let (word, tokens) = self.0[(random.next() % self.0.len() as u64) as usize];
            if tokens <= left {
                text += if text.is_empty() { "" } else { " " };
                text += word;
                left -= tokens;
            }
        }
        text
    }
}
