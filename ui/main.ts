import './style.css'
import { ControlApp } from './app.ts'
import { createControl } from './control.ts'

const app = new ControlApp(createControl())
document.body.append(app)
void app.control.session.start()
