"""Common words of one token each, whatever stands before them."""

WORDS = (
    "about above after again air along animal answer area around back bank before begin below between book both bread bridge bring build "
    "carry case cause change children city clear close cold color country course cover cross day deep door down draw early earth east eat "
    "end enough even ever example eye face family far farm father feel few field fire first fish five follow food form friend front full "
    "garden give glass good green ground group grow hand hard head hear heat help high hold home horse hour house idea island keep kind "
    "king know land large last late lead learn leave left letter life light line list live long low machine main map mark measure metal "
    "mile money moon morning mountain move music name near never next night north note number ocean often old open order other page paper "
    "part path pattern people piece plain plan plant point power press question rain reach ready red rest river road rock room round run "
    "school science sea season second seed send set ship short side sky sleep slow small snow song sound south stand star start state stay "
    "step stone story street strong summer sun table talk teach tell time town travel tree turn under unit valley voice walk warm watch "
    "water weather week west wheel white wind window winter wood word work world write year young"
).split()
